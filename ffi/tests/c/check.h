/* What the C tests share. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unspoken.h"

#define CHECK(condition)                                                                              \
  do {                                                                                                \
    if (!(condition)) {                                                                               \
      fprintf(stderr, "%s:%d: %s\n  last error: %s\n", __FILE__, __LINE__, #condition, unspoken_last_error()); \
      exit(1);                                                                                        \
    }                                                                                                 \
  } while (0)

#define OK(call) CHECK((call) == UNSPOKEN_CODE_OK)

/* An engine with a critic, on the CPU. */
static inline unspoken_engine *load_with_store(const char *model, uint32_t threads, const char *store) {
  unspoken_engine_params params = unspoken_engine_default_params();
  unspoken_engine *engine = NULL;
  params.policy = model;
  params.with_critic = 1;
  params.device = UNSPOKEN_DEVICE_CPU;
  params.threads = threads;
  params.store = store;
  OK(unspoken_engine_load(&params, &engine));
  return engine;
}

static inline unspoken_engine *load(const char *model, uint32_t threads) {
  return load_with_store(model, threads, NULL);
}

/* The likeliest tokens. */
static inline unspoken_reply_params greedy(size_t max_tokens) {
  unspoken_reply_params params = unspoken_reply_default_params();
  params.temperature = 0;
  params.max_tokens = max_tokens;
  return params;
}

#endif
