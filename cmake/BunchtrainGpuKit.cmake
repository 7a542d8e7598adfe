# SPDX-License-Identifier: Apache-2.0
# What tools/gpu-kit packs, written down by the build: <build>/gpu_kit/{build,programs,tests}.txt, and the target
# gpu_kit that builds it.

# bunchtrain_add_kit_program(<target>...): goes into bin/ of the kit.
function(bunchtrain_add_kit_program)
  set_property(GLOBAL APPEND PROPERTY BUNCHTRAIN_KIT_PROGRAMS ${ARGN})
endfunction()

# bunchtrain_add_kit_test(<name> <target> gpu|cpu <seconds> [RANKS 1 2 ...] [ENV NAME=value ...]): one line per number of
# ranks up to two, which one card can hold, "name needs ranks seconds program [NAME=value ...]"; 0 ranks: not started by
# mpirun.
function(bunchtrain_add_kit_test name target needs seconds)
  cmake_parse_arguments(PARSE_ARGV 4 arg "" "" "RANKS;ENV")
  bunchtrain_add_kit_program(${target})
  list(JOIN arg_ENV " " env)
  if(NOT arg_RANKS)
    set_property(GLOBAL APPEND_STRING PROPERTY BUNCHTRAIN_KIT_TESTS "${name} ${needs} 0 ${seconds} ${target} ${env}\n")
  endif()
  list(FILTER arg_RANKS INCLUDE REGEX "^[12]$")
  foreach(ranks IN LISTS arg_RANKS)
    set_property(GLOBAL APPEND_STRING PROPERTY BUNCHTRAIN_KIT_TESTS
      "${name}.np${ranks} ${needs} ${ranks} ${seconds} ${target} ${env}\n")
  endforeach()
endfunction()

# Call when all targets are there. Of a build without programs, as inside another project, there is no kit.
function(bunchtrain_write_gpu_kit)
  foreach(program IN ITEMS bunchtrain train_particlenet train_3dgan gpu_bench)
    if(TARGET ${program})
      bunchtrain_add_kit_program(${program})
    endif()
  endforeach()
  get_property(programs GLOBAL PROPERTY BUNCHTRAIN_KIT_PROGRAMS)
  get_property(tests GLOBAL PROPERTY BUNCHTRAIN_KIT_TESTS)
  if(NOT programs)
    return()
  endif()
  list(REMOVE_DUPLICATES programs)

  set(paths "")
  foreach(program IN LISTS programs)
    string(APPEND paths "$<TARGET_FILE:${program}>\n")
  endforeach()
  set(cuda none)
  set(architectures none)
  if(BUNCHTRAIN_WITH_CUDA)
    set(cuda "${CMAKE_CUDA_COMPILER_VERSION}")
    list(JOIN CMAKE_CUDA_ARCHITECTURES " " architectures)
  endif()
  set(folder "${PROJECT_BINARY_DIR}/gpu_kit")
  file(GENERATE OUTPUT "${folder}/programs.txt" CONTENT "${paths}")
  file(GENERATE OUTPUT "${folder}/tests.txt" CONTENT "${tests}")
  file(GENERATE OUTPUT "${folder}/build.txt" CONTENT "libtorch ${LibTorch_VERSION}
libtorch_folder ${LibTorch_DIRECTORY}
compiler ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}
cuda ${cuda}
architectures ${architectures}
mpirun ${MPIEXEC_EXECUTABLE}
")
  add_custom_target(gpu_kit)
  add_dependencies(gpu_kit ${programs})
endfunction()
