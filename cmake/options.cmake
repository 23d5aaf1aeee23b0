# Flags as target properties, so that nothing leaks into a project that includes this one.

set(MIXFUSE_SANITIZE "" CACHE STRING "For -fsanitize=, e.g. address,undefined; empty for none")

# A newer compiler's new warnings must not stop a newcomer's first build.
set(werror OFF)
if(PROJECT_IS_TOP_LEVEL AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU"
   AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  set(werror ON)
endif()
option(MIXFUSE_WERROR "Warnings are errors" ${werror})

function(mixfuse_compile_options target)
  set(warnings -Wall -Wextra -Wconversion -Wsign-conversion)
  if(NOT OpenMP_CXX_FOUND)
    list(APPEND warnings -Wno-unknown-pragmas)
  endif()
  # Every fma is one that was written: CPU and CUDA agree in every bit.
  set(host ${warnings} -ffp-contract=off)
  if(MIXFUSE_SANITIZE)
    list(APPEND host -fsanitize=${MIXFUSE_SANITIZE} -fno-sanitize-recover=all
         -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=${MIXFUSE_SANITIZE})
  else()
    list(APPEND host -fstack-protector-strong -fstack-clash-protection)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
      list(APPEND host -fcf-protection=full)
    endif()
    target_compile_definitions(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:_GLIBCXX_ASSERTIONS>)
    # Fortifying needs the optimiser; some systems' g++ define a lower level themselves.
    target_compile_options(${target} PRIVATE
      "$<$<AND:$<COMPILE_LANGUAGE:CXX>,$<NOT:$<CONFIG:Debug,>>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=3>")
    target_link_options(${target} PRIVATE LINKER:-z,relro LINKER:-z,now LINKER:-z,noexecstack)
  endif()
  string(REPLACE ";" "," through_nvcc "${host}")
  # nvcc's own host code is not pedantic, and CMake 3.25 knows no flag of its for C++20.
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:${host};-Wpedantic>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--fmad=false;-lineinfo;-Xcompiler=${through_nvcc}>"
    "$<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${MIXFUSE_SMALL}>>:-Xfatbin=-compress-all;--compress-mode=size>")
  target_compile_features(${target} PRIVATE cxx_std_20)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    COMPILE_WARNING_AS_ERROR ${MIXFUSE_WERROR}
    POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden
    CUDA_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}") # "kernels/maths/x.hpp"
  target_include_directories(${target} SYSTEM PRIVATE ${MIXFUSE_GENERATOR_INCLUDE_DIRS})
  target_compile_definitions(${target} PRIVATE
    MIXFUSE_HAS_CUDA=$<BOOL:${MIXFUSE_WITH_CUDA}> MIXFUSE_HAS_CURAND=$<BOOL:${MIXFUSE_WITH_CUDA}>)
endfunction()

# What the library's objects need, and the CUDA runtime that the target's property
# CUDA_RUNTIME_LIBRARY names. Who links an installed static library finds the same by its package,
# with the runtime of his own choice (mixfuse-config.cmake).
function(mixfuse_link_dependencies target)
  if(OpenMP_CXX_FOUND)
    target_link_libraries(${target} PRIVATE OpenMP::OpenMP_CXX)
  endif()
  if(MIXFUSE_WITH_CUDA)
    get_target_property(runtime ${target} CUDA_RUNTIME_LIBRARY)
    string(TOUPPER "${runtime}" runtime)
    if(runtime STREQUAL "SHARED")
      set(runtime CUDA::cudart)
    else()
      set(runtime CUDA::cudart_static)
    endif()
    target_link_libraries(${target} PRIVATE
      "$<BUILD_INTERFACE:${runtime}>$<INSTALL_INTERFACE:mixfuse::cudart>")
  endif()
endfunction()

# Puts the library's objects into `target`, with what they need.
function(mixfuse_link_objects target)
  target_link_libraries(${target} PRIVATE mixfuse_objects)
  mixfuse_link_dependencies(${target})
endfunction()
