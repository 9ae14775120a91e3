# graft_layer(NAME [COLD] SOURCES ... DEPENDS layer... LIBS ...)   a static library graft_NAME from src/NAME; COLD: without hot loops
# graft_tests(NAME [LOOPS] SOURCES ... LAYERS layer...)     a GoogleTest program test_NAME, split into fast and slow; LOOPS: with
#                                                           plain twins that must not take minutes
find_package(OpenMP REQUIRED)
find_package(fmt REQUIRED)
find_package(PkgConfig REQUIRED)

# Several sources in one compilation: what the headers cost (the standard library's, GoogleTest) is paid once for them all.
# Off for quick incremental builds: cmake --preset release -DGRAFT_UNITY=OFF
option(GRAFT_UNITY "Compile several sources together" ON)
option(GRAFT_UNITY_TESTS "The same for the sources of tests" ${GRAFT_UNITY})
# Twice as many sources in one compilation take a quarter less time of the processor, and twice the memory (1.2 GB with g++).
set(GRAFT_UNITY_BATCH 24 CACHE STRING "How many sources are compiled together")

# Sources named after KEEP_APART have names that clash with their neighbours', or are included by Highway themselves.
function(graft_unity target on)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${on} UNITY_BUILD_BATCH_SIZE ${GRAFT_UNITY_BATCH})
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# What runs once for a file, a command or a step compiles at -O1 in three quarters of the time, and tests that call what
# is optimized at -O0 in half of it. With sanitizers -O0 takes a third of -O1's time.
function(graft_optimize target release sanitized)
  if(GRAFT_SANITIZE)
    target_compile_options(${target} PRIVATE ${sanitized})
  else()
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:${release}>)
  endif()
endfunction()

function(graft_layer name)
  cmake_parse_arguments(L "COLD" "" "SOURCES;KEEP_APART;DEPENDS;LIBS" ${ARGN})
  add_library(graft_${name} STATIC ${L_SOURCES} ${L_KEEP_APART})
  graft_unity(graft_${name} ${GRAFT_UNITY} ${L_KEEP_APART})
  # For libgraft.so, which consists of the same objects as libgraft.a (cmake/install.cmake).
  set_target_properties(graft_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  if(L_COLD)
    graft_optimize(graft_${name} -O1 -O0)
  endif()
  target_include_directories(graft_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include PRIVATE ${PROJECT_SOURCE_DIR}/src)
  foreach(layer ${L_DEPENDS})
    target_link_libraries(graft_${name} PUBLIC graft_${layer})
  endforeach()
  target_link_libraries(graft_${name} PUBLIC ${L_LIBS})
  set_property(GLOBAL APPEND PROPERTY GRAFT_LAYER_TARGETS graft_${name})
  set_property(GLOBAL APPEND PROPERTY GRAFT_LIBS ${L_LIBS})
endfunction()

function(graft_tests name)
  cmake_parse_arguments(T "LOOPS" "" "SOURCES;KEEP_APART;LAYERS;LIBS" ${ARGN})
  add_executable(test_${name} ${T_SOURCES} ${T_KEEP_APART})
  graft_unity(test_${name} ${GRAFT_UNITY_TESTS} ${T_KEEP_APART})
  target_include_directories(test_${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  foreach(layer ${T_LAYERS})
    target_link_libraries(test_${name} PRIVATE graft_${layer})
  endforeach()
  target_link_libraries(test_${name} PRIVATE ${T_LIBS} graft_test_support)
  if(T_LOOPS)  # the precompiled header serves one level only
    graft_optimize(test_${name} -O1 -O1)
  else()
    graft_optimize(test_${name} -O0 -O0)
    target_precompile_headers(test_${name} REUSE_FROM graft_test_support)
  endif()
  # A test whose name holds "Slow" runs only under `test.sh --slow`.
  gtest_discover_tests(test_${name} TEST_FILTER "-*Slow*" DISCOVERY_MODE PRE_TEST
                       PROPERTIES LABELS fast-${name} TIMEOUT 300)
  gtest_discover_tests(test_${name} TEST_FILTER "*Slow*" DISCOVERY_MODE PRE_TEST TEST_LIST ${name}_slow
                       PROPERTIES LABELS slow TIMEOUT 3600)
endfunction()
