/* Eight threads on one engine: conversations of their own, one that they share, handles made and freed. */
#include <pthread.h>

#include "check.h"

static unspoken_engine *engine;
static unspoken_chat *shared;
static uint32_t expected[8];

static void *work(void *unused) {
  unspoken_reply_params params = greedy(8);
  int i;
  (void)unused;
  for (i = 0; i < 3; i++) {
    unspoken_chat *chat = NULL;
    unspoken_reply *reply = NULL;
    size_t count = 0;
    OK(unspoken_chat_create(engine, NULL, &chat));
    OK(unspoken_chat_send(chat, "Hello", &params, &reply));
    CHECK(memcmp(unspoken_reply_tokens(reply, &count), expected, sizeof expected) == 0);
    OK(unspoken_reply_free(reply));
    CHECK(unspoken_chat_send(chat, "\xff", &params, NULL) == UNSPOKEN_CODE_NOT_UTF8);
    CHECK(strstr(unspoken_last_error(), "text") != NULL);
    OK(unspoken_chat_free(chat));
    OK(unspoken_chat_send(shared, "Hello", &params, NULL));
  }
  return NULL;
}

int main(int argc, char **argv) {
  pthread_t threads[8];
  unspoken_reply *reply = NULL;
  unspoken_chat *chat = NULL;
  unspoken_messages *messages = NULL;
  unspoken_reply_params params = greedy(8);
  size_t count = 0;
  int i;
  CHECK(argc == 2);
  engine = load(argv[1], 2);
  OK(unspoken_chat_create(engine, NULL, &shared));
  OK(unspoken_chat_create(engine, NULL, &chat));
  OK(unspoken_chat_send(chat, "Hello", &params, &reply));
  memcpy(expected, unspoken_reply_tokens(reply, &count), sizeof expected);
  CHECK(count == 8);
  for (i = 0; i < 8; i++) CHECK(pthread_create(&threads[i], NULL, work, NULL) == 0);
  for (i = 0; i < 8; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  OK(unspoken_chat_messages(shared, &messages));
  CHECK(unspoken_messages_count(messages) == 8 * 3 * 2);
  OK(unspoken_messages_free(messages));
  OK(unspoken_reply_free(reply));
  OK(unspoken_chat_free(chat));
  OK(unspoken_chat_free(shared));
  OK(unspoken_engine_free(engine));
  puts("ok");
  return 0;
}
