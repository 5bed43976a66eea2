/* A conversation in C: chat MODEL [TEXT...] */
#include <stdio.h>
#include <string.h>

#include <unspoken.h>

static int32_t on_text(const char *text, size_t len, void *user_data) {
  (void)user_data;
  fwrite(text, 1, len, stdout);
  fflush(stdout);
  return 1;
}

static int fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, unspoken_last_error());
  return 1;
}

int main(int argc, char **argv) {
  unspoken_engine_params params = unspoken_engine_default_params();
  unspoken_engine *engine = NULL;
  unspoken_chat *chat = NULL;
  char line[4096];
  int i;

  if (argc < 2) {
    fprintf(stderr, "chat MODEL [TEXT...]\n");
    return 2;
  }
  if (unspoken_abi_version() != UNSPOKEN_ABI_VERSION) {
    fprintf(stderr, "the library and its header do not belong together\n");
    return 2;
  }
  params.policy = argv[1];
  if (unspoken_engine_load(&params, &engine)) return fail(argv[1]);
  if (unspoken_chat_create(engine, NULL, &chat)) return fail("chat");
  fprintf(stderr, "on %s\n", unspoken_engine_device_name(engine));
  for (i = 2; i < argc; i++) {
    if (unspoken_chat_send_with(chat, argv[i], NULL, on_text, NULL, NULL)) return fail("reply");
    puts("");
  }
  while (argc == 2 && fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    if (unspoken_chat_send_with(chat, line, NULL, on_text, NULL, NULL)) return fail("reply");
    puts("");
  }
  unspoken_chat_free(chat);
  unspoken_engine_free(engine);
  return 0;
}
