# cmake --install: the programs, and beside them, found from where they lie, all that comes with them. The folder may be
# moved as a whole.
#
#   bin/spt bin/spt-sandbox   share/spt/ configs, slurm, plotly.min.js   lib/spt/ libtorch (SPT_INSTALL_TORCH)
#   share/modulefiles/spt/VERSION, share/bash-completion/completions/spt, share/zsh/site-functions/_spt, share/doc/spt
option(SPT_INSTALL_TORCH "copy libtorch and its CUDA libraries into the installation (1 to 4 GB); else they stay where they are" OFF)

# libtorch beside the program first, then where it was built against.
get_filename_component(site "${SPT_TORCH_DIR}" DIRECTORY)
set(rpath "")
foreach(directory IN LISTS SPT_TORCH_RPATH)
  file(RELATIVE_PATH relative "${site}" "${directory}")
  list(APPEND rpath "$ORIGIN/../lib/spt/${relative}")
  if(SPT_INSTALL_TORCH)
    install(DIRECTORY "${directory}/" DESTINATION "lib/spt/${relative}" FILES_MATCHING PATTERN "*.so*")
  endif()
endforeach()
if(NOT SPT_INSTALL_TORCH)
  list(APPEND rpath ${SPT_TORCH_RPATH})
endif()
set_target_properties(spt PROPERTIES INSTALL_RPATH "${rpath}")
install(TARGETS spt spt-sandbox RUNTIME DESTINATION bin)

foreach(folder configs slurm docs)
  if(EXISTS "${CMAKE_SOURCE_DIR}/${folder}")
    if(folder STREQUAL "docs")
      install(DIRECTORY docs/ DESTINATION share/doc/spt)
    else()
      install(DIRECTORY ${folder} DESTINATION share/spt USE_SOURCE_PERMISSIONS)
    endif()
  endif()
endforeach()
install(FILES README.md LICENSE DESTINATION share/doc/spt)
install(FILES "${SPT_PLOTLY}" DESTINATION share/spt RENAME plotly.min.js OPTIONAL)

configure_file(cmake/modulefile.in "${CMAKE_BINARY_DIR}/modulefile" @ONLY)
install(FILES "${CMAKE_BINARY_DIR}/modulefile" DESTINATION share/modulefiles/spt RENAME "${PROJECT_VERSION}")

foreach(pair "bash|share/bash-completion/completions|spt" "zsh|share/zsh/site-functions|_spt")
  string(REPLACE "|" ";" pair "${pair}")
  list(GET pair 0 shell)
  list(GET pair 1 folder)
  list(GET pair 2 name)
  install(CODE "execute_process(COMMAND \"$<TARGET_FILE:spt>\" completion ${shell} OUTPUT_FILE \"${CMAKE_BINARY_DIR}/completion.${shell}\" COMMAND_ERROR_IS_FATAL ANY)")
  install(FILES "${CMAKE_BINARY_DIR}/completion.${shell}" DESTINATION "${folder}" RENAME "${name}")
endforeach()
