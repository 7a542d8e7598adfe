# SPDX-License-Identifier: Apache-2.0
# Which of our files come to torch/nn, by themselves or by others of ours. Its precompiled headers cost a compiler three
# seconds even where nothing of them is used, and spare ten where something is.

# bunchtrain_reaches_torch_nn(FILE RESULT [FOLDER...]): FOLDERs beside include/ in which "..." is looked for.
function(bunchtrain_reaches_torch_nn file result)
  get_property(known GLOBAL PROPERTY "BUNCHTRAIN_REACHES_NN ${file}")
  if(NOT "${known}" STREQUAL "")
    set(${result} ${known} PARENT_SCOPE)
    return()
  endif()
  set_property(GLOBAL PROPERTY "BUNCHTRAIN_REACHES_NN ${file}" OFF)  # what includes itself in a circle
  cmake_path(GET file PARENT_PATH folder)
  file(STRINGS "${file}" includes REGEX "^#include")
  set(known OFF)
  foreach(include IN LISTS includes)
    if(include MATCHES "<(torch/|ATen/ATen.h)")
      set(known ON)
    elseif(NOT known AND include MATCHES "[\"<]([^\">]+)[\">]")
      foreach(place IN ITEMS "${folder}" "${PROJECT_SOURCE_DIR}/include" ${ARGN})
        cmake_path(ABSOLUTE_PATH CMAKE_MATCH_1 BASE_DIRECTORY "${place}" NORMALIZE OUTPUT_VARIABLE other)
        if(EXISTS "${other}")
          bunchtrain_reaches_torch_nn("${other}" known ${ARGN})
          break()
        endif()
      endforeach()
    endif()
  endforeach()
  set_property(GLOBAL PROPERTY "BUNCHTRAIN_REACHES_NN ${file}" ${known})
  set(${result} ${known} PARENT_SCOPE)
endfunction()
