# `cmake --install`: components Runtime (shared library, tool) and Development (the rest).

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package "${CMAKE_INSTALL_LIBDIR}/cmake/mixfuse")
set(private_headers job.hpp dtypes.hpp maths/beta.hpp maths/blend.hpp maths/box.hpp
    maths/divisor.hpp maths/error.hpp maths/hd.hpp maths/load.hpp maths/pixel.hpp maths/real.hpp
    maths/target.hpp maths/uniform.hpp maths/words.hpp)

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/mixfuse" DESTINATION include
  COMPONENT Development)
foreach(header IN LISTS private_headers)
  cmake_path(GET header PARENT_PATH folder)
  install(FILES "${PROJECT_SOURCE_DIR}/kernels/${header}"
    DESTINATION "include/mixfuse/headers/kernels/${folder}" COMPONENT Development)
endforeach()

install(TARGETS mixfuse_headers EXPORT mixfuse-headers)
foreach(target mixfuse mixfuse_other)
  get_target_property(kind ${target} EXPORT_NAME)
  install(TARGETS ${target} EXPORT mixfuse-${kind}
    LIBRARY COMPONENT Runtime NAMELINK_COMPONENT Development
    ARCHIVE COMPONENT Development)
endforeach()
foreach(part headers shared static)
  install(EXPORT mixfuse-${part} NAMESPACE mixfuse:: DESTINATION "${package}"
    FILE mixfuse-${part}.cmake COMPONENT Development)
endforeach()

configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/mixfuse-config.cmake.in"
  "${PROJECT_BINARY_DIR}/mixfuse-config.cmake" INSTALL_DESTINATION "${package}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/mixfuse-config-version.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/mixfuse-config.cmake" "${PROJECT_BINARY_DIR}/mixfuse-config-version.cmake"
  DESTINATION "${package}" COMPONENT Development)

# For those who do not use CMake.
set(private_libraries -lstdc++ -lm)
if(OpenMP_CXX_FOUND)
  foreach(library IN LISTS OpenMP_CXX_LIB_NAMES)
    list(APPEND private_libraries -l${library})
  endforeach()
endif()
if(MIXFUSE_WITH_CUDA)
  list(APPEND private_libraries "-L${CUDAToolkit_LIBRARY_DIR}" -lcudart_static -lrt -ldl -lpthread)
endif()
list(JOIN private_libraries " " private_libraries)
file(RELATIVE_PATH prefix_from_here "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file("${CMAKE_CURRENT_LIST_DIR}/mixfuse.pc.in" "${PROJECT_BINARY_DIR}/mixfuse.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/mixfuse.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
  COMPONENT Development)

if(MIXFUSE_TOOL)
  install(TARGETS mixfuse_tool RUNTIME COMPONENT Runtime)
endif()
