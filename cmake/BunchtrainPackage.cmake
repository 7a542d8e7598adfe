# SPDX-License-Identifier: Apache-2.0
# The relocatable CMake package: one export set per module, so that
# find_package(bunchtrain COMPONENTS models) needs what models needs and nothing else. Also writes the
# link graph that cmake/check_layers reads.

get_property(modules GLOBAL PROPERTY BUNCHTRAIN_BUILT_MODULES)

# The libraries that a module links itself, by target name, without generator expressions.
function(bunchtrain_direct_links module out)
  set(links)
  foreach(property LINK_LIBRARIES INTERFACE_LINK_LIBRARIES)
    get_target_property(values bunchtrain_${module} ${property})
    if(values)
      list(APPEND links ${values})
    endif()
  endforeach()
  list(FILTER links EXCLUDE REGEX "bunchtrain_build_flags")
  list(TRANSFORM links REPLACE "^\\$<[A-Z_]+:(.*)>$" "\\1")
  list(TRANSFORM links REPLACE "^\\$<[A-Z_]+:(.*)>$" "\\1")
  list(TRANSFORM links REPLACE "^bunchtrain_([a-z_]+)$" "bunchtrain::\\1")
  list(REMOVE_DUPLICATES links)
  set(${out} "${links}" PARENT_SCOPE)
endfunction()

# The short names, for bunchtrain_find(), of the libraries among the given targets.
function(bunchtrain_short_names out)
  set(names)
  foreach(target IN LISTS ARGN)
    if(target MATCHES "^bunchtrain_dep::(.*)$")
      list(APPEND names ${CMAKE_MATCH_1})
    elseif(target MATCHES "^LibTorch::")
      list(APPEND names libtorch)
    elseif(target STREQUAL "CLI11::CLI11")
      list(APPEND names cli11)
    elseif(target STREQUAL "tomlplusplus::tomlplusplus")
      list(APPEND names toml)
    elseif(target STREQUAL "nlohmann_json::nlohmann_json")
      list(APPEND names json)
    elseif(target MATCHES "^(fmt|hwy)::")
      list(APPEND names ${CMAKE_MATCH_1})
    elseif(target MATCHES "^Threads::")
      list(APPEND names threads)
    elseif(NOT target MATCHES "^(bunchtrain::|-|[a-z]+$)")
      message(FATAL_ERROR "The package config does not know how to find ${target}; add it to BunchtrainPackage.cmake")
    endif()
  endforeach()
  list(REMOVE_DUPLICATES names)
  set(${out} "${names}" PARENT_SCOPE)
endfunction()

set(link_graph "")
set(module_table "")
foreach(module IN LISTS modules)
  bunchtrain_direct_links(${module} links)
  foreach(link IN LISTS links)
    string(APPEND link_graph "${module} ${link}\n")
  endforeach()
  bunchtrain_short_names(needs ${links})
  set(depends ${links})
  list(FILTER depends INCLUDE REGEX "^bunchtrain::")
  list(TRANSFORM depends REPLACE "^bunchtrain::" "")
  string(APPEND module_table "set(bunchtrain_${module}_depends ${depends})\nset(bunchtrain_${module}_needs ${needs})\n")
endforeach()
# Shared libraries that hold all that they need of ours: components that look for nothing.
get_property(closed GLOBAL PROPERTY BUNCHTRAIN_CLOSED_LIBRARIES)
foreach(library IN LISTS closed)
  string(APPEND module_table "set(bunchtrain_${library}_depends)\nset(bunchtrain_${library}_needs)\n")
endforeach()
list(APPEND modules ${closed})
file(GENERATE OUTPUT "${PROJECT_BINARY_DIR}/link_graph.txt" CONTENT "${link_graph}")

if(NOT BUNCHTRAIN_INSTALL)
  return()
endif()

include(CMakePackageConfigHelpers)
set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/bunchtrain")
foreach(module IN LISTS modules)
  install(TARGETS bunchtrain_${module} EXPORT bunchtrain-${module}
          ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
          LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
          RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
  add_dependencies(bunchtrain_package bunchtrain_${module})
  install(EXPORT bunchtrain-${module} NAMESPACE bunchtrain:: FILE bunchtrain-${module}.cmake
          DESTINATION "${package_folder}")
endforeach()
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/bunchtrain" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h" PATTERN "*.cuh" PATTERN detail EXCLUDE)

set(BUNCHTRAIN_MODULE_TABLE "${module_table}")
configure_package_config_file(cmake/bunchtrainConfig.cmake.in "${PROJECT_BINARY_DIR}/package/bunchtrainConfig.cmake"
  INSTALL_DESTINATION "${package_folder}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/package/bunchtrainConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/package/bunchtrainConfig.cmake"
              "${PROJECT_BINARY_DIR}/package/bunchtrainConfigVersion.cmake"
              cmake/BunchtrainComponents.cmake cmake/BunchtrainDependencies.cmake cmake/FindLibTorch.cmake
        DESTINATION "${package_folder}")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
