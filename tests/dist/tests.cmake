# dist_tests has its own main and runs under mpirun at 1, 2, 3 and 4 ranks; dist_process_tests starts whole jobs of
# dist_scenario and watches how they end.
set(spt_dist_tests "${CMAKE_CURRENT_LIST_DIR}")
add_executable(dist_tests
  ${spt_dist_tests}/../ranks_main.cpp
  ${spt_dist_tests}/communicator_test.cpp
  ${spt_dist_tests}/differentiable_test.cpp
  ${spt_dist_tests}/exact_sum_test.cpp
  ${spt_dist_tests}/hang_report_test.cpp
  ${spt_dist_tests}/host_threads_test.cpp
  ${spt_dist_tests}/mesh_test.cpp
  ${spt_dist_tests}/to_device_test.cpp
  ${spt_dist_tests}/work_queue_test.cpp)
target_link_libraries(dist_tests PRIVATE spt_dist GTest::gmock)
target_precompile_headers(dist_tests PRIVATE <ATen/ATen.h> <gmock/gmock.h>)

set(spt_mpi_environment "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMP_NUM_THREADS=1")
foreach(ranks 1 2 3 4)
  set(launch "${MPIEXEC_EXECUTABLE}" -n ${ranks} --oversubscribe --bind-to none $<TARGET_FILE:dist_tests>)
  add_test(NAME dist.ranks_${ranks} COMMAND ${launch} --gtest_filter=-*Gpu*)
  set_tests_properties(dist.ranks_${ranks} PROPERTIES LABELS "ranks;fast" ENVIRONMENT "${spt_mpi_environment}"
    PROCESSORS 2 TIMEOUT 120)
  add_test(NAME dist.gpu_${ranks} COMMAND ${launch} --gtest_filter=*Gpu*)
  set_tests_properties(dist.gpu_${ranks} PROPERTIES LABELS "ranks;gpu" ENVIRONMENT "${spt_mpi_environment}"
    PROCESSORS 2 TIMEOUT 300 SKIP_REGULAR_EXPRESSION "no GPU visible here")
endforeach()

add_executable(dist_scenario ${spt_dist_tests}/scenario_main.cpp)
target_link_libraries(dist_scenario PRIVATE spt_dist)
add_executable(dist_process_tests ${spt_dist_tests}/process_test.cpp)
target_compile_definitions(dist_process_tests PRIVATE
  SPT_MPIEXEC="${MPIEXEC_EXECUTABLE}" SPT_DIST_SCENARIO="$<TARGET_FILE:dist_scenario>")
target_link_libraries(dist_process_tests PRIVATE spt_options fmt::fmt GTest::gmock GTest::gtest_main)
add_dependencies(dist_process_tests dist_scenario)
add_test(NAME dist.processes COMMAND dist_process_tests)
set_tests_properties(dist.processes PROPERTIES LABELS "ranks;integration" ENVIRONMENT "${spt_mpi_environment}" PROCESSORS 2
  TIMEOUT 450)
