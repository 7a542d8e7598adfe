// SPDX-License-Identifier: Apache-2.0
#pragma once
/// For small functions of loops that are compiled once per instruction set.

/// Always inlined, so that each caller gets its own instructions.
#define BUNCHTRAIN_INLINE __attribute__((always_inline)) inline
