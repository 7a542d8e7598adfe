// SPDX-License-Identifier: Apache-2.0
#pragma once
/// One binary for processors of different ages: functions compiled for AVX-512, AVX2 and the base, chosen at
/// load time.

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#define BUNCHTRAIN_VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BUNCHTRAIN_VECTOR_CLONES
#endif
