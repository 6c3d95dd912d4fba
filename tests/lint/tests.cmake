# What reads the sources only. clang-tidy is tidy.sh, called by launch/test.sh: it takes minutes.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(spt_lint_tests "${CMAKE_CURRENT_LIST_DIR}")
add_test(NAME lint.include_order COMMAND "${Python3_EXECUTABLE}" "${spt_lint_tests}/include_order.py")
add_test(NAME lint.samples COMMAND "${Python3_EXECUTABLE}" "${spt_lint_tests}/check_samples.py")
add_test(NAME lint.format COMMAND "${spt_lint_tests}/format.sh")
set_tests_properties(lint.include_order lint.samples lint.format PROPERTIES LABELS "lint;fast" SKIP_REGULAR_EXPRESSION "^SKIPPED")
