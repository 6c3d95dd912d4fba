# spt report on folders that made_runs.py makes, and its page in a browser (label browser), which launch/setup.sh --browser
# installs and launch/test.sh all runs.
set(SPT_BROWSER_PYTHON "" CACHE FILEPATH "python of a virtual environment with launch/requirements/browser.txt")
set(spt_report_tests "${CMAKE_CURRENT_LIST_DIR}")

function(spt_report_test name file label)
  add_test(NAME report.${name}
    COMMAND ${CMAKE_COMMAND} -E env SPT_PROGRAM=$<TARGET_FILE:spt> "SPT_MPIEXEC=${MPIEXEC_EXECUTABLE}" "SPT_PLOTLY=${SPT_PLOTLY}"
            "SPT_BROWSER_PYTHON=${SPT_BROWSER_PYTHON}" "SPT_SCREENSHOTS=${CMAKE_BINARY_DIR}/report" PYTHONDONTWRITEBYTECODE=1
            "${Python3_EXECUTABLE}" "${spt_report_tests}/${file}" -v)
  set_tests_properties(report.${name} PROPERTIES LABELS ${label} ENVIRONMENT "${spt_mpi_environment}" TIMEOUT 600 SKIP_REGULAR_EXPRESSION "^SKIPPED")
endfunction()
spt_report_test(folders report_test.py integration)
spt_report_test(page page_test.py browser)
