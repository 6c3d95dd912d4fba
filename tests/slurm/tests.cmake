# The batch scripts of slurm/ under a Slurm that each test starts for itself; skips where its programs are not installed
# (launch/setup.sh --tests). Included after integration/tests.cmake.
set(spt_slurm_tests "${CMAKE_CURRENT_LIST_DIR}")

function(spt_slurm_test name class seconds)
  add_test(NAME slurm.${name}
    COMMAND ${CMAKE_COMMAND} -E env SPT_PROGRAM=$<TARGET_FILE:spt> "SPT_MPIEXEC=${MPIEXEC_EXECUTABLE}" PYTHONDONTWRITEBYTECODE=1
            "${Python3_EXECUTABLE}" "${spt_slurm_tests}/slurm_test.py" -v ${class})
  set_tests_properties(slurm.${name} PROPERTIES LABELS "slurm;integration;ranks" ENVIRONMENT "${spt_mpi_environment}" PROCESSORS 2
    TIMEOUT ${seconds} SKIP_REGULAR_EXPRESSION "^SKIPPED")
endfunction()

spt_slurm_test(train TrainTest 300)
spt_slurm_test(ends EndsTest 300)
spt_slurm_test(evaluation EvaluationTest 180)
spt_slurm_test(sweep SweepTest 300)
