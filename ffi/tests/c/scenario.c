/* The scenario of tests/scenario.md: scenario MODEL STORE. */
#define _DEFAULT_SOURCE
#include <pthread.h>
#include <unistd.h>

#include "check.h"

static unspoken_reply *say(unspoken_engine *engine, const unspoken_profile *profile, const char *text) {
  unspoken_chat_params chat_params = unspoken_chat_default_params();
  unspoken_reply_params params = greedy(12);
  unspoken_chat *chat = NULL;
  unspoken_reply *reply = NULL;
  chat_params.profile = profile;
  OK(unspoken_chat_create(engine, &chat_params, &chat));
  OK(unspoken_chat_send(chat, text, &params, &reply));
  OK(unspoken_chat_free(chat));
  return reply;
}

static void print_tokens(const char *key, const unspoken_reply *reply) {
  size_t count = 0, i;
  const uint32_t *tokens = unspoken_reply_tokens(reply, &count);
  printf("%s:", key);
  for (i = 0; i < count; i++) printf(" %u", (unsigned)tokens[i]);
  puts("");
}

static int same(const unspoken_reply *a, const unspoken_reply *b) {
  size_t m = 0, n = 0;
  const uint32_t *x = unspoken_reply_tokens(a, &m), *y = unspoken_reply_tokens(b, &n);
  return m == n && memcmp(x, y, n * sizeof *x) == 0;
}

static void *cancel_later(void *chat) {
  usleep(300000);
  OK(unspoken_chat_cancel(chat));
  return NULL;
}

static int32_t on_progress(const unspoken_progress *progress, void *user_data) {
  CHECK(progress->steps == 2 && progress->step <= 2);
  ++*(int *)user_data;
  return UNSPOKEN_CONTROL_CONTINUE;
}

int main(int argc, char **argv) {
  const char *colours = "Name three colours.", *tonight = "What should I do tonight?";
  const char *questions[] = {"What should I do tonight?", "Where could we have dinner?"};
  unspoken_engine *engine;
  unspoken_reply *base, *adapted, *again, *reply = NULL;
  unspoken_chat *chat = NULL;
  unspoken_stream *stream = NULL;
  unspoken_critic *critic = NULL;
  unspoken_critique *critique = NULL;
  unspoken_profile *profile = NULL;
  unspoken_adaptation *job = NULL;
  unspoken_texts *texts = NULL;
  unspoken_adaptation_params adapt = unspoken_adaptation_default_params();
  unspoken_reply_params params = greedy(12);
  unspoken_step_report step;
  unspoken_outcome outcome;
  pthread_t thread;
  char pulled[4096] = "";
  const char *piece;
  size_t count = 0, len = 0;
  int told = 0, steps = 0;

  CHECK(argc == 3);
  engine = load_with_store(argv[1], 2, argv[2]);
  base = say(engine, NULL, colours);
  print_tokens("base", base);

  OK(unspoken_chat_create(engine, NULL, &chat));
  OK(unspoken_chat_stream(chat, colours, &params, &stream));
  for (;;) {
    OK(unspoken_stream_next(stream, &piece));
    if (piece == NULL) break;
    strcat(pulled, piece);
  }
  OK(unspoken_stream_reply(stream, &reply));
  printf("stream: %s\n", same(base, reply) && strcmp(pulled, unspoken_reply_text(base, &len)) == 0 ? "true" : "false");
  OK(unspoken_stream_free(stream));
  OK(unspoken_reply_free(reply));
  OK(unspoken_chat_set_messages(chat, NULL, 0));

  params = unspoken_reply_default_params();
  params.max_tokens = 1500;
  CHECK(pthread_create(&thread, NULL, cancel_later, chat) == 0);
  OK(unspoken_chat_send(chat, "Tell me a long story.", &params, &reply));
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(unspoken_reply_tokens(reply, &count) != NULL);
  printf("cancelled: %s\n",
         unspoken_reply_stop_reason(reply) == UNSPOKEN_STOP_REASON_CANCELLED && count < 1500 ? "true" : "false");
  OK(unspoken_reply_free(reply));

  OK(unspoken_critic_create(engine, &critic));
  OK(unspoken_critic_critique(critic, "I avoid crowds.", tonight, "Step 1: Go to a big concert.", &critique));
  printf("critique: %zu %.4f\n", unspoken_critique_count(critique), unspoken_critique_score(critique));
  OK(unspoken_critique_free(critique));
  OK(unspoken_critic_free(critic));

  OK(unspoken_profile_open(engine, "sam", &profile));
  OK(unspoken_profile_state(profile, "I avoid crowds and noise.", NULL));
  OK(unspoken_profile_preferences(profile, &texts));
  printf("preferences: %zu\n", unspoken_texts_count(texts));
  OK(unspoken_texts_free(texts));
  adapt.questions = questions;
  adapt.question_count = 2;
  adapt.steps = 2;
  adapt.group = 2;
  adapt.max_tokens = 24;
  adapt.lr = 0.01f;
  adapt.rank = 4;
  OK(unspoken_adaptation_create(profile, &adapt, &job));
  for (;;) {
    OK(unspoken_adaptation_step(job, on_progress, &told, &step));
    if (step.step == 0) break;
    steps++;
  }
  CHECK(told > 0);
  printf("steps: %d\n", steps);
  OK(unspoken_adaptation_conclude(job, &outcome));
  printf("version: %lld %s\n", (long long)outcome.version, outcome.committed ? "true" : "false");
  OK(unspoken_adaptation_free(job));
  adapted = say(engine, profile, tonight);
  print_tokens("adapted", adapted);
  CHECK(unspoken_reply_message(adapted) > 0);
  OK(unspoken_profile_rate(profile, unspoken_reply_message(adapted), 1.0f));
  params.top_p = 0;
  printf("error: %d\n", (int)unspoken_chat_send(chat, "x", &params, NULL));
  OK(unspoken_chat_free(chat));
  OK(unspoken_profile_free(profile));
  OK(unspoken_engine_free(engine));

  engine = load_with_store(argv[1], 2, argv[2]);
  OK(unspoken_profile_open(engine, "sam", &profile));
  again = say(engine, profile, tonight);
  printf("reloaded: %s\n", same(adapted, again) ? "true" : "false");
  OK(unspoken_reply_free(again));
  again = say(engine, NULL, colours);
  print_tokens("base_again", again);
  OK(unspoken_profile_free(profile));
  OK(unspoken_engine_delete_user(engine, "sam"));
  OK(unspoken_engine_users(engine, &texts));
  printf("users: %zu\n", unspoken_texts_count(texts));
  OK(unspoken_texts_free(texts));
  OK(unspoken_reply_free(base));
  OK(unspoken_reply_free(adapted));
  OK(unspoken_reply_free(again));
  OK(unspoken_engine_free(engine));
  return 0;
}
