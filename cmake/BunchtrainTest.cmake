# SPDX-License-Identifier: Apache-2.0
# How a test becomes a program and its CTest entries.
#
#   bunchtrain_add_test(<module>.<unit>
#     SOURCES x_test.cpp ...
#     LINK bunchtrain::x ...
#     [RANKS 1 2 4]      # one entry <module>.<unit>.npN per number, run by mpirun; implies MAIN mpi
#     [MAIN mpi|none]    # mpi: python-free-tests/support/mpi_main.cpp; none: the test has its own
#     [LABELS unit|mpi|gpu|system|slow ...]   # default: unit, or mpi with RANKS
#     [LIBTORCH | LIBTORCH_NN]   # shares the precompiled LibTorch header
#     [ENV NAME=value ...]
#     [KIT]              # goes into the GPU kit, as every test with the label gpu does; needs no GPU and no file
#     [DATA]             # registered only where the test data folder is
#     [TIMEOUT seconds])  # default 60, sanitizers get five times that; a multi-rank test is killed by a watchdog
#
# The program is <module>_<unit>_test and knows BUNCHTRAIN_TEST_DATA as a compile definition.

if(NOT BUNCHTRAIN_TESTS)
  return()
endif()
enable_testing()
bunchtrain_find(gtest)
# A test runs once for each time it is compiled: not worth an optimisation. Nor is the memory that GCC would sweep meanwhile.
set(BUNCHTRAIN_TEST_OPTIONS $<$<CONFIG:Release>:-O0> "$<$<COMPILE_LANG_AND_ID:CXX,GNU>:SHELL:--param ggc-min-heapsize=700000>")
set(BUNCHTRAIN_TEST_HEADERS <gmock/gmock.h> <gtest/gtest.h> ${BUNCHTRAIN_USUAL_HEADERS})
bunchtrain_add_pch(test OPTIONS ${BUNCHTRAIN_TEST_OPTIONS} LINK GTest::gmock HEADERS ${BUNCHTRAIN_TEST_HEADERS})
bunchtrain_add_pch(test_tensor OPTIONS ${BUNCHTRAIN_TEST_OPTIONS} LINK GTest::gmock LibTorch::cpu HEADERS ${BUNCHTRAIN_TENSOR_HEADERS} ${BUNCHTRAIN_TEST_HEADERS})
bunchtrain_add_pch(test_nn OPTIONS ${BUNCHTRAIN_TEST_OPTIONS} LINK GTest::gmock LibTorch::cpu HEADERS ${BUNCHTRAIN_NN_HEADERS} ${BUNCHTRAIN_TEST_HEADERS})

# mpirun refuses to run as root and to start more ranks than cores unless told that this is meant.
set(BUNCHTRAIN_MPIRUN_ENV
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1)

# Tests with the label gpu are always built, and registered where there is a GPU to run them on. Started elsewhere
# they skip themselves (python-free-tests/support/needs_gpu.cpp).
set(BUNCHTRAIN_HAS_GPU OFF)
if(BUNCHTRAIN_WITH_CUDA)
  find_program(BUNCHTRAIN_NVIDIA_SMI nvidia-smi)
  mark_as_advanced(BUNCHTRAIN_NVIDIA_SMI)
  if(BUNCHTRAIN_NVIDIA_SMI)
    execute_process(COMMAND "${BUNCHTRAIN_NVIDIA_SMI}" -L OUTPUT_VARIABLE gpus ERROR_QUIET)
    if(gpus MATCHES "GPU 0")
      set(BUNCHTRAIN_HAS_GPU ON)
    endif()
  endif()
endif()

# What the sanitizers are told not to report of third parties.
set(suppressions "${PROJECT_SOURCE_DIR}/python-free-tests/support")
set(BUNCHTRAIN_SANITIZER_ENV)
if(BUNCHTRAIN_SANITIZER MATCHES address)
  # MPI unloads its plug-ins before the leak check: only whole stacks lead to a library that has a name.
  list(APPEND BUNCHTRAIN_SANITIZER_ENV
    "ASAN_OPTIONS=detect_odr_violation=0:fast_unwind_on_malloc=0" "LSAN_OPTIONS=suppressions=${suppressions}/lsan.supp:print_suppressions=0"
    "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1")
elseif(BUNCHTRAIN_SANITIZER MATCHES thread)
  # libgomp is not instrumented: its barriers look like races.
  list(APPEND BUNCHTRAIN_SANITIZER_ENV
    "TSAN_OPTIONS=suppressions=${suppressions}/tsan.supp" "OMP_NUM_THREADS=1")
endif()
# Instrumented programs are several times slower; a watchdog must not take that for a hang.
set(BUNCHTRAIN_PATIENCE 1)
if(BUNCHTRAIN_SANITIZER)
  set(BUNCHTRAIN_PATIENCE 5)
endif()

function(bunchtrain_register_test name seconds)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "COMMAND;LABELS;ENV")
  if("gpu" IN_LIST arg_LABELS AND NOT BUNCHTRAIN_HAS_GPU)
    return()
  endif()
  add_test(NAME ${name} COMMAND ${arg_COMMAND})
  # Who may take long begins first, so that none is left to run alone at the end.
  set_tests_properties(${name} PROPERTIES
    LABELS "${arg_LABELS}" TIMEOUT ${seconds} COST ${seconds} ENVIRONMENT "${BUNCHTRAIN_MPIRUN_ENV};${BUNCHTRAIN_SANITIZER_ENV};${arg_ENV}")
endfunction()

# Compiled once for all programs with the label gpu.
function(bunchtrain_add_needs_gpu)
  if(NOT TARGET bunchtrain_needs_gpu)
    add_library(bunchtrain_needs_gpu OBJECT EXCLUDE_FROM_ALL "${PROJECT_SOURCE_DIR}/python-free-tests/support/needs_gpu.cpp")
    bunchtrain_compile_settings(bunchtrain_needs_gpu)
    target_link_libraries(bunchtrain_needs_gpu PRIVATE bunchtrain::device GTest::gtest)
    target_compile_options(bunchtrain_needs_gpu PRIVATE ${BUNCHTRAIN_TEST_OPTIONS})
    bunchtrain_use_pch(bunchtrain_needs_gpu test_tensor)
  endif()
endfunction()

function(bunchtrain_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "DATA;KIT;LIBTORCH;LIBTORCH_NN" "MAIN;TIMEOUT"
    "SOURCES;LINK;RANKS;LABELS;ENV")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "bunchtrain_add_test(${name}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(arg_DATA AND NOT IS_DIRECTORY "${BUNCHTRAIN_TEST_DATA}")
    return()
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * ${BUNCHTRAIN_PATIENCE}")
  if(arg_RANKS AND NOT arg_MAIN)
    set(arg_MAIN mpi)
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
    if(arg_RANKS)
      set(arg_LABELS mpi)
    endif()
  endif()

  string(REPLACE "." "_" target ${name})
  string(APPEND target _test)
  if("gpu" IN_LIST arg_LABELS)
    bunchtrain_add_needs_gpu()
    list(APPEND arg_SOURCES $<TARGET_OBJECTS:bunchtrain_needs_gpu>)
    list(APPEND arg_LINK bunchtrain::device)
  endif()
  add_executable(${target} ${arg_SOURCES})
  bunchtrain_compile_settings(${target})
  # Kernels emulated on the host are slow enough to be worth more.
  if(NOT name MATCHES "host$")
    target_compile_options(${target} PRIVATE ${BUNCHTRAIN_TEST_OPTIONS})
  endif()
  target_compile_definitions(${target} PRIVATE BUNCHTRAIN_TEST_DATA="${BUNCHTRAIN_TEST_DATA}")
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/python-free-tests")
  target_link_libraries(${target} PRIVATE ${arg_LINK} GTest::gmock GTest::gtest)
  if(arg_MAIN STREQUAL "mpi")
    target_link_libraries(${target} PRIVATE bunchtrain_mpi_main)
  elseif(NOT arg_MAIN STREQUAL "none")
    target_link_libraries(${target} PRIVATE GTest::gtest_main)
  endif()
  if(arg_LIBTORCH_NN)
    target_link_libraries(${target} PRIVATE LibTorch::cpu)
    bunchtrain_use_pch(${target} test_nn)
  elseif(arg_LIBTORCH)
    target_link_libraries(${target} PRIVATE LibTorch::cpu)
    bunchtrain_use_pch(${target} test_tensor)
  elseif(NOT name MATCHES "host$")
    bunchtrain_use_pch(${target} test)
  endif()

  if("gpu" IN_LIST arg_LABELS)
    bunchtrain_add_kit_test(${name} ${target} gpu ${arg_TIMEOUT} RANKS ${arg_RANKS} ENV ${arg_ENV})
  elseif(arg_KIT)
    bunchtrain_add_kit_test(${name} ${target} cpu ${arg_TIMEOUT} RANKS ${arg_RANKS} ENV ${arg_ENV})
  endif()
  if(NOT arg_RANKS)
    bunchtrain_register_test(${name} ${arg_TIMEOUT} COMMAND ${target} LABELS ${arg_LABELS} ENV ${arg_ENV})
    return()
  endif()
  math(EXPR outer "${arg_TIMEOUT} + 15")
  foreach(ranks IN LISTS arg_RANKS)
    bunchtrain_register_test(${name}.np${ranks} ${outer}
      COMMAND timeout --kill-after=5 ${arg_TIMEOUT} ${MPIEXEC_EXECUTABLE} -n ${ranks} $<TARGET_FILE:${target}>
      LABELS ${arg_LABELS} ENV ${arg_ENV})
    if(TEST ${name}.np${ranks})
      set_tests_properties(${name}.np${ranks} PROPERTIES PROCESSORS ${ranks})
    endif()
  endforeach()
endfunction()
