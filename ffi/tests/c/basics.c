/* Every call once, right and wrong: run under valgrind with the tiny model. */
#include "check.h"

struct heard {
  char text[4096];
  size_t len;
  int stop_after;
};

static int32_t on_text(const char *text, size_t len, void *user_data) {
  struct heard *heard = user_data;
  CHECK(strlen(text) == len || memchr(text, 0, len) != NULL);
  CHECK(heard->len + len < sizeof heard->text);
  memcpy(heard->text + heard->len, text, len);
  heard->len += len;
  return heard->stop_after == 0 || --heard->stop_after > 0;
}

static int log_lines;

static void on_log(int32_t level, const char *module, const char *text, void *user_data) {
  CHECK(level >= UNSPOKEN_LOG_LEVEL_ERROR && level <= UNSPOKEN_LOG_LEVEL_TRACE);
  CHECK(strncmp(module, "unspoken", 8) == 0 && text != NULL);
  ++*(int *)user_data;
}

static void misuse(unspoken_engine *engine, unspoken_chat *chat) {
  unspoken_engine_params params = unspoken_engine_default_params();
  unspoken_engine *other = NULL;
  unspoken_chat *second = NULL;
  unspoken_reply *reply = NULL;
  unspoken_reply_params bad = greedy(4);
  unspoken_chat *freed;
  int on_stack = 0;

  CHECK(unspoken_engine_load(NULL, &other) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(unspoken_engine_load(&params, &other) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  params.policy = "/nowhere/at/all.gguf";
  CHECK(unspoken_engine_load(&params, NULL) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  params.device = 9;
  CHECK(unspoken_engine_load(&params, &other) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  params.device = UNSPOKEN_DEVICE_CPU;
  params.critic_reader = 9;
  CHECK(unspoken_engine_load(&params, &other) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  params.critic_reader = UNSPOKEN_READER_AT_ONCE;
  CHECK(unspoken_engine_load(&params, &other) == UNSPOKEN_CODE_NOT_FOUND);
  CHECK(strstr(unspoken_last_error(), "/nowhere/at/all.gguf") != NULL);
  params.size = 100000;
  CHECK(unspoken_engine_load(&params, &other) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  params.size = 0;
  CHECK(unspoken_engine_load(&params, &other) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(other == NULL);

  /* Null, of another type, made up, freed. */
  CHECK(unspoken_chat_send(NULL, "x", NULL, &reply) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_chat_send((unspoken_chat *)engine, "x", NULL, &reply) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_chat_send((unspoken_chat *)&on_stack, "x", NULL, &reply) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_chat_send((unspoken_chat *)(uintptr_t)0x7fffffff, "x", NULL, &reply) == UNSPOKEN_CODE_BAD_HANDLE);
  OK(unspoken_chat_create(engine, NULL, &second));
  freed = second;
  OK(unspoken_chat_free(second));
  CHECK(unspoken_chat_send(freed, "x", NULL, &reply) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_chat_free(freed) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_engine_free((unspoken_engine *)chat) == UNSPOKEN_CODE_BAD_HANDLE);
  OK(unspoken_chat_free(NULL));
  CHECK(unspoken_reply_text(NULL, NULL) == NULL);
  CHECK(unspoken_reply_stop_reason(NULL) == -1);
  CHECK(unspoken_stream_next(NULL, NULL) == UNSPOKEN_CODE_BAD_HANDLE);

  CHECK(unspoken_chat_send(chat, NULL, NULL, &reply) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(unspoken_chat_send(chat, "\xff\xfe", NULL, &reply) == UNSPOKEN_CODE_NOT_UTF8);
  bad.top_p = 0;
  CHECK(unspoken_chat_send(chat, "x", &bad, &reply) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(strstr(unspoken_last_error(), "top_p") != NULL);
  bad = greedy(4);
  bad.stop_count = 3;
  CHECK(unspoken_chat_send(chat, "x", &bad, &reply) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(reply == NULL);
  CHECK(strcmp(unspoken_code_name(UNSPOKEN_CODE_NOT_UTF8), "NotUtf8") == 0);
  CHECK(strcmp(unspoken_code_name(-5), "unknown") == 0);
}

int main(int argc, char **argv) {
  unspoken_engine *engine;
  unspoken_chat *chat = NULL;
  unspoken_reply *reply = NULL, *again = NULL;
  unspoken_stream *stream = NULL;
  unspoken_critic *critic = NULL;
  unspoken_critique *critique = NULL;
  unspoken_messages *messages = NULL;
  unspoken_chat_params chat_params = unspoken_chat_default_params();
  unspoken_reply_params params = greedy(12);
  struct heard heard = {{0}, 0, 0};
  const char *piece;
  const char *stops[] = {"e"};
  char pulled[4096] = "";
  uint32_t tokens[64];
  size_t count = 0, len = 0;

  CHECK(argc == 2);
  CHECK(unspoken_abi_version() == UNSPOKEN_ABI_VERSION);
  OK(unspoken_set_log(UNSPOKEN_LOG_LEVEL_INFO, on_log, &log_lines));
  engine = load(argv[1], 1);
  CHECK(log_lines > 0);
  OK(unspoken_set_log(UNSPOKEN_LOG_LEVEL_INFO, NULL, NULL));
  CHECK(unspoken_engine_context_length(engine) == 4096);
  CHECK(strstr(unspoken_engine_device_name(engine), "cpu") != NULL);
  OK(unspoken_engine_tokenize(engine, "Yes, \xc3\xa9", NULL, 0, &count));
  CHECK(count > 0 && count <= 64);
  OK(unspoken_engine_tokenize(engine, "Yes, \xc3\xa9", tokens, 64, &count));

  chat_params.system = "Be brief.";
  chat_params.context_tokens = 256;
  OK(unspoken_chat_create(engine, &chat_params, &chat));
  misuse(engine, chat);

  /* Waited for, by callback, pulled. */
  OK(unspoken_chat_send_with(chat, "Hello", &params, on_text, &heard, &reply));
  CHECK(unspoken_reply_tokens(reply, &count) != NULL && count == 12);
  CHECK(unspoken_reply_stop_reason(reply) == UNSPOKEN_STOP_REASON_LENGTH);
  CHECK(unspoken_reply_text(reply, &len) != NULL && len == heard.len);
  CHECK(memcmp(unspoken_reply_text(reply, NULL), heard.text, len) == 0);
  CHECK(unspoken_reply_prompt_tokens(reply) > 0 && unspoken_reply_left_out(reply) == 0);
  CHECK(unspoken_reply_seconds(reply, 1) >= unspoken_reply_seconds(reply, 0));
  OK(unspoken_chat_messages(chat, &messages));
  CHECK(unspoken_messages_count(messages) == 2);
  CHECK(strcmp(unspoken_messages_get(messages, 0).content, "Hello") == 0);
  CHECK(strcmp(unspoken_messages_get(messages, 1).role, "assistant") == 0);
  CHECK(unspoken_messages_get(messages, 2).role == NULL);
  OK(unspoken_chat_set_messages(chat, NULL, 0));
  OK(unspoken_chat_stream(chat, "Hello", &params, &stream));
  for (;;) {
    OK(unspoken_stream_next(stream, &piece));
    if (piece == NULL) break;
    strcat(pulled, piece);
  }
  OK(unspoken_stream_reply(stream, &again));
  CHECK(memcmp(unspoken_reply_tokens(again, &count), unspoken_reply_tokens(reply, &count), 12 * sizeof(uint32_t)) == 0);
  OK(unspoken_stream_free(stream));
  OK(unspoken_reply_free(again));

  /* Stopped: by its callback, by a string, by freeing the stream. */
  heard.len = 0;
  heard.stop_after = 1;
  OK(unspoken_chat_send_with(chat, "Hello", &params, on_text, &heard, &again));
  CHECK(unspoken_reply_stop_reason(again) == UNSPOKEN_STOP_REASON_CANCELLED);
  OK(unspoken_reply_free(again));
  params.stop = stops;
  params.stop_count = 1;
  OK(unspoken_chat_send(chat, "Hello", &params, NULL));
  params = greedy(100);
  OK(unspoken_chat_stream(chat, "Hello", &params, &stream));
  OK(unspoken_stream_cancel(stream));
  OK(unspoken_stream_free(stream));

  OK(unspoken_critic_create(engine, &critic));
  OK(unspoken_critic_critique(critic, "quiet", "Where to?", "Step 1: out", &critique));
  CHECK(unspoken_critique_count(critique) == 1);
  CHECK(strcmp(unspoken_critique_step(critique, 0).step, "out") == 0);
  CHECK(unspoken_critique_step(critique, 7).step == NULL);
  CHECK(unspoken_critique_score(NULL) != unspoken_critique_score(NULL));
  OK(unspoken_critique_free(critique));
  OK(unspoken_critic_cancel(critic));

  /* In any order. */
  OK(unspoken_engine_free(engine));
  OK(unspoken_chat_send(chat, "Still there?", &params, NULL));
  OK(unspoken_messages_free(messages));
  OK(unspoken_reply_free(reply));
  OK(unspoken_critic_free(critic));
  OK(unspoken_chat_free(chat));
  puts("ok");
  return 0;
}
