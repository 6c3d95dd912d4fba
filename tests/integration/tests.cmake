# Whole jobs of spt, started and watched by Python (the standard library is enough): integration/*_test.py.
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)
set(spt_integration_tests "${CMAKE_CURRENT_LIST_DIR}")

# spt_integration_test(name file class seconds): one class of a file; tests of several ranks, so one at a time on two cores.
function(spt_integration_test name file class seconds)
  add_test(NAME integration.${name}
    COMMAND ${CMAKE_COMMAND} -E env SPT_PROGRAM=$<TARGET_FILE:spt> "SPT_MPIEXEC=${MPIEXEC_EXECUTABLE}" PYTHONDONTWRITEBYTECODE=1
            "${Python3_EXECUTABLE}" "${spt_integration_tests}/${file}" -v ${class})
  set_tests_properties(integration.${name} PROPERTIES LABELS "integration;ranks" ENVIRONMENT "${spt_mpi_environment}"
    PROCESSORS 2 TIMEOUT ${seconds})
endfunction()

spt_integration_test(layouts layouts_test.py LayoutsTest 300)
spt_integration_test(odd_layouts layouts_test.py OddLayoutsTest 300)
spt_integration_test(micro_batches layouts_test.py MicroBatchesTest 300)
spt_integration_test(stop resume_test.py StopTest 300)
spt_integration_test(kill resume_test.py KillTest 300)
spt_integration_test(run_folder resume_test.py FoldersTest 180)
spt_integration_test(two_runs resume_test.py ShareTest 180)
spt_integration_test(failing_rank resume_test.py FailureTest 180)
spt_integration_test(generate generate_test.py GenerateTest 300)
spt_integration_test(eval eval_test.py EvalTest 300)
spt_integration_test(eval_tasks eval_tasks_test.py EvalTasksTest 600)
spt_integration_test(annotate annotate_test.py OutputTest 180)
spt_integration_test(annotate_faults annotate_endpoint_test.py FaultsTest 300)
spt_integration_test(annotate_key annotate_endpoint_test.py KeyTest 180)
spt_integration_test(annotate_resume annotate_resume_test.py ResumeTest 300)
spt_integration_test(annotate_field annotate_model_test.py RoleFromTest 180)
spt_integration_test(annotate_checkpoint annotate_model_test.py CheckpointTest 300)
# With a real model; skips where its server is not installed.
spt_integration_test(real_endpoint real_endpoint_test.py RealEndpointTest 600)
set_tests_properties(integration.real_endpoint PROPERTIES LABELS real SKIP_REGULAR_EXPRESSION "^SKIPPED")
spt_integration_test(inspect inspect_test.py InspectTest 300)
spt_integration_test(prepare prepare_test.py PrepareTest 300)
spt_integration_test(compare compare_test.py CompareTest 180)
spt_integration_test(compare_refused compare_test.py RefusedTest 180)
spt_integration_test(judge judge_test.py OutcomesTest 300)
spt_integration_test(judge_refused judge_test.py RefusedTest 180)
spt_integration_test(judge_resume judge_resume_test.py ResumeTest 300)
spt_integration_test(judge_replay judge_resume_test.py ReplayTest 180)
spt_integration_test(judge_checkpoint judge_checkpoint_test.py CheckpointTest 300)
spt_integration_test(sweep sweep_test.py PointsTest 300)
spt_integration_test(sweep_ends sweep_test.py EndsTest 300)
