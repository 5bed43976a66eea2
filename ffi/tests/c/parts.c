/* What a build leaves out says so, and nothing else does: parts MODEL STORE [gpu|cpu|train|store|eval]... */
#include "check.h"

static int count;
static char **names;

static int left_out(const char *part) {
  for (int i = 0; i < count; i++)
    if (strcmp(names[i], part) == 0) return 1;
  return 0;
}

static unspoken_code engine_on(const char *model, const char *store, int32_t device, unspoken_engine **out) {
  unspoken_engine_params params = unspoken_engine_default_params();
  params.policy = model;
  params.with_critic = 1;
  params.device = device;
  params.store = store;
  return unspoken_engine_load(&params, out);
}

/* `code` where the part is there, else that it is not. */
static void expect(const char *part, unspoken_code found, unspoken_code code) {
  CHECK(found == (left_out(part) ? UNSPOKEN_CODE_NOT_BUILT_IN : code));
  if (left_out(part)) CHECK(strstr(unspoken_last_error(), part) != NULL);
}

int main(int argc, char **argv) {
  unspoken_engine *engine = NULL, *other = NULL;
  unspoken_evaluation *evaluation = NULL;
  unspoken_adaptation *job = NULL;
  unspoken_profile *profile = NULL;
  unspoken_chat *chat = NULL;
  unspoken_texts *users = NULL;
  unspoken_reply_params reply = greedy(2);
  int32_t device;
  unspoken_code code;

  CHECK(argc >= 3);
  count = argc - 3;
  names = argv + 3;
  device = left_out("cpu") ? UNSPOKEN_DEVICE_AUTO : UNSPOKEN_DEVICE_CPU;
  expect("cpu", engine_on(argv[1], NULL, UNSPOKEN_DEVICE_CPU, &other), UNSPOKEN_CODE_OK);
  OK(unspoken_engine_free(other));
  other = NULL;
  code = engine_on(argv[1], NULL, UNSPOKEN_DEVICE_GPU, &other);
  /* A machine without any is as well. */
  expect("gpu", code == UNSPOKEN_CODE_NO_GPU ? UNSPOKEN_CODE_OK : code, UNSPOKEN_CODE_OK);
  OK(unspoken_engine_free(other));
  other = NULL;

  if (left_out("cpu")) {
    code = engine_on(argv[1], NULL, device, &engine);
    if (left_out("gpu")) {
      CHECK(code == UNSPOKEN_CODE_NOT_BUILT_IN);
      puts("ok");
      return 0;
    }
    if (code == UNSPOKEN_CODE_NO_GPU) {
      puts("ok, as far as a machine without a real GPU shows");
      return 0;
    }
    CHECK(code == UNSPOKEN_CODE_OK);
  } else {
    OK(engine_on(argv[1], NULL, device, &engine));
  }
  OK(unspoken_chat_create(engine, NULL, &chat));
  OK(unspoken_chat_send(chat, "Hello", &reply, NULL));
  OK(unspoken_chat_free(chat));
  expect("eval", unspoken_evaluation_create(engine, NULL, &evaluation), UNSPOKEN_CODE_OK);
  OK(unspoken_evaluation_free(evaluation));
  evaluation = NULL;
  /* This engine has no store. */
  expect("store", unspoken_profile_open(engine, "sam", &profile), UNSPOKEN_CODE_INVALID_ARGUMENT);
  expect("store", unspoken_engine_users(engine, &users), UNSPOKEN_CODE_INVALID_ARGUMENT);
  expect("store", unspoken_engine_delete_user(engine, "sam"), UNSPOKEN_CODE_INVALID_ARGUMENT);
  OK(unspoken_engine_free(engine));
  engine = NULL;

  expect("store", engine_on(argv[1], argv[2], device, &engine), UNSPOKEN_CODE_OK);
  if (!left_out("store")) {
    OK(unspoken_profile_open(engine, "sam", &profile));
    OK(unspoken_profile_state(profile, "I avoid crowds.", NULL));
    expect("eval", unspoken_evaluation_of_profile(profile, &evaluation), UNSPOKEN_CODE_OK);
    /* The user has asked nothing yet. */
    expect("train", unspoken_adaptation_create(profile, NULL, &job), UNSPOKEN_CODE_INVALID_ARGUMENT);
    CHECK(unspoken_adaptation_run(job, NULL, NULL, NULL) == UNSPOKEN_CODE_BAD_HANDLE);
  }
  OK(unspoken_evaluation_free(evaluation));
  OK(unspoken_profile_free(profile));
  OK(unspoken_engine_free(engine));
  puts("ok");
  return 0;
}
