# Installs the two components one after the other, each of which must be whole by itself.
file(REMOVE_RECURSE "${STAGE}")
foreach(component Runtime Development)
  execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${STAGE}"
    --component ${component} --config "${CONFIG}" OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  if(component STREQUAL "Runtime")
    file(GLOB_RECURSE development "${STAGE}/*.h" "${STAGE}/*.hpp" "${STAGE}/*.a" "${STAGE}/*.cmake"
      "${STAGE}/*.pc" "${STAGE}/*/libmixfuse.so")
    if(development)
      message(FATAL_ERROR "the component Runtime has ${development}")
    endif()
    file(GLOB_RECURSE runtime "${STAGE}/*/libmixfuse.so.*")
    if(NOT runtime)
      message(FATAL_ERROR "the component Runtime has no library")
    endif()
  endif()
endforeach()

# Whoever wants the row's functions needs no generator.
file(GLOB_RECURSE headers "${STAGE}/include/*.h" "${STAGE}/include/*.hpp")
foreach(header IN LISTS headers)
  file(READ "${header}" text)
  if(text MATCHES "#include <(curand|Random123|thrust|cub)")
    message(FATAL_ERROR "${header} includes <${CMAKE_MATCH_1}...>")
  endif()
endforeach()
