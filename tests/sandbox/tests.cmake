# What models write, run apart (trainer/eval/sandbox.h): also as a user without rights, as which most people will run it.
spt_test_program(sandbox_tests sandbox spt_eval GTest::gtest_main)
add_dependencies(sandbox_tests spt-sandbox)
add_test(NAME sandbox.tests COMMAND sandbox_tests --gtest_filter=-HumanEval.*)
set_tests_properties(sandbox.tests PROPERTIES LABELS fast TIMEOUT 300)
add_test(NAME sandbox.tests_unprivileged COMMAND sh -c
  "[ $(id -u) = 0 ] && command -v setpriv >/dev/null || { echo SKIPPED: not root, or no setpriv; exit 0; }
   as='setpriv --reuid 54321 --regid 54321 --clear-groups'
   $as test -w /tmp || { echo SKIPPED: /tmp is not for everybody here; exit 0; }
   exec $as env -u HOME \"$0\" --gtest_filter=-HumanEval.*" $<TARGET_FILE:sandbox_tests>)
add_test(NAME sandbox.humaneval COMMAND sandbox_tests --gtest_filter=HumanEval.*)
set_tests_properties(sandbox.tests_unprivileged sandbox.humaneval PROPERTIES LABELS integration PROCESSORS 2 TIMEOUT 600
  SKIP_REGULAR_EXPRESSION "^SKIPPED")
