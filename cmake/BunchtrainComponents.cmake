# SPDX-License-Identifier: Apache-2.0
# Part of the installed package: a project that links a component which it did not ask for is told the line to
# change. CMake's own message, "the target was not found", does not say why.

set_property(GLOBAL APPEND PROPERTY BUNCHTRAIN_ASKED_COMPONENTS ${bunchtrain_FIND_COMPONENTS})
set_property(GLOBAL PROPERTY BUNCHTRAIN_ALL_COMPONENTS ${bunchtrain_modules})

function(bunchtrain_refuse_link target component)
  get_property(asked GLOBAL PROPERTY BUNCHTRAIN_ASKED_COMPONENTS)
  get_property(all GLOBAL PROPERTY BUNCHTRAIN_ALL_COMPONENTS)
  if(NOT component IN_LIST all)
    list(JOIN all ", " all)
    message(FATAL_ERROR "${target} links bunchtrain::${component}, but bunchtrain has no such component; it has ${all}.")
  endif()
  list(APPEND asked ${component})
  list(REMOVE_DUPLICATES asked)
  list(JOIN asked " " asked)
  message(FATAL_ERROR "${target} links bunchtrain::${component}, a component that find_package was not asked for. Write\n"
    "  find_package(bunchtrain CONFIG REQUIRED COMPONENTS ${asked})")
endfunction()

function(bunchtrain_check_components directory)
  get_property(targets DIRECTORY "${directory}" PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(links ${target} LINK_LIBRARIES)
    foreach(link IN LISTS links)
      if(link MATCHES "^bunchtrain::([a-z_0-9]+)$" AND NOT TARGET ${link})
        bunchtrain_refuse_link(${target} ${CMAKE_MATCH_1})
      endif()
    endforeach()
  endforeach()
  get_property(subdirectories DIRECTORY "${directory}" PROPERTY SUBDIRECTORIES)
  foreach(subdirectory IN LISTS subdirectories)
    bunchtrain_check_components("${subdirectory}")
  endforeach()
endfunction()

# At the end of the directory that called find_package() all its targets are there.
cmake_language(EVAL CODE "cmake_language(DEFER CALL bunchtrain_check_components [[${CMAKE_CURRENT_SOURCE_DIR}]])")
