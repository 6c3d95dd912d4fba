# Comparisons with transformers, lm-evaluation-harness and scipy (label peer): they need its Python, which launch/setup.sh --peer makes and launch/test.sh
# names.
set(SPT_PEER_PYTHON "" CACHE FILEPATH "python of a virtual environment with launch/requirements/peer.txt")
set(spt_peer_tests "${CMAKE_CURRENT_LIST_DIR}")

if(NOT SPT_PEER_PYTHON)
  add_test(NAME peer COMMAND ${CMAKE_COMMAND} -E echo "SKIPPED: configure with -DSPT_PEER_PYTHON=…/bin/python (launch/test.sh does)")
  set_tests_properties(peer PROPERTIES LABELS peer SKIP_REGULAR_EXPRESSION "^SKIPPED")
  return()
endif()

foreach(program dump_logits dump_rows)
  add_executable(${program} ${spt_peer_tests}/${program}.cpp)
endforeach()
target_link_libraries(dump_logits PRIVATE spt_model)
target_link_libraries(dump_rows PRIVATE spt_data)

function(spt_peer_test name)
  add_test(NAME peer.${name} COMMAND "${spt_peer_tests}/run.sh" ${name} "${SPT_PEER_PYTHON}" $<TARGET_FILE:spt>
    $<TARGET_FILE_DIR:dump_logits> "${CMAKE_SOURCE_DIR}")
  set_tests_properties(peer.${name} PROPERTIES LABELS peer ENVIRONMENT "${spt_mpi_environment}" TIMEOUT 600
    SKIP_REGULAR_EXPRESSION "^SKIPPED" ${ARGN})
endfunction()
spt_peer_test(train FIXTURES_SETUP peer_run)
foreach(name hf_folder hf_folder_mistral bf16_logits training_losses generate generate_tp2 chat_template chat_template_llama sample_lengths generate_smollm2 chat_template_smollm2 choices gsm8k)
  spt_peer_test(${name} FIXTURES_REQUIRED peer_run)
endforeach()
set_tests_properties(peer.choices PROPERTIES TIMEOUT 3600)  # with SPT_PEER_ITEMS=200
spt_peer_test(statistics)
