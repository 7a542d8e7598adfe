// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One binary for processors of different ages: loops compiled once per instruction set. For sources only.

/// Compiles a plain function for AVX-512, AVX2 and the base; the loader chooses. Does not work on templates.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#define BUNCHTRAIN_VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BUNCHTRAIN_VECTOR_CLONES
#endif
/// Always inlined, so that each clone of a caller gets its own instructions.
#define BUNCHTRAIN_INLINE __attribute__((always_inline)) inline
