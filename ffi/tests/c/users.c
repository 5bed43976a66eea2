/* Users, what adapts to them and what measures it, right and wrong: users MODEL STORE. */
#include "check.h"

static const char *RECORD =
    "{\"id\": \"r\", \"topic\": \"evenings\", \"preference\": \"I avoid crowds.\", \"question\": \"Where to?\", \"options\": ["
    "{\"text\": \"A concert.\", \"violates\": \"a crowd\"}, {\"text\": \"A library.\", \"violates\": null},"
    "{\"text\": \"A fair.\", \"violates\": \"a crowd\"}, {\"text\": \"A rally.\", \"violates\": \"a crowd\"}]}\n";

struct listening {
  int32_t answer;
  int called;
};

static int32_t on_progress(const unspoken_progress *progress, void *user_data) {
  struct listening *listening = user_data;
  CHECK(progress->steps == 2 && progress->step <= 2 && progress->seconds >= 0);
  listening->called++;
  return listening->answer;
}

static int32_t on_record(size_t done, size_t all, void *user_data) {
  CHECK(done <= all && all == 1);
  return *(int *)user_data;
}

/* What `params` with one thing wrong is refused for; nothing of the user changes. */
static void refused(const unspoken_profile *profile, unspoken_adaptation_params params, unspoken_code code) {
  unspoken_adaptation *job = NULL;
  CHECK(unspoken_adaptation_create(profile, &params, &job) == code);
  CHECK(job == NULL && unspoken_last_error()[0] != 0);
}

static unspoken_adaptation_params two_steps(const char *const *questions, size_t count) {
  unspoken_adaptation_params params = unspoken_adaptation_default_params();
  params.questions = questions;
  params.question_count = count;
  params.steps = 2;
  params.group = 2;
  params.max_tokens = 8;
  params.rank = 2;
  params.lr = 0.01f;
  return params;
}

static unspoken_profile *profiles(unspoken_engine *engine, unspoken_engine *without_store) {
  unspoken_profile *sam = NULL, *other = NULL, *freed;
  unspoken_texts *texts = NULL;
  int64_t id = 0, second = 0;

  CHECK(unspoken_profile_open(NULL, "sam", &other) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_profile_open(without_store, "sam", &other) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(unspoken_profile_open(engine, NULL, &other) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(unspoken_profile_open(engine, "", &other) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(unspoken_profile_open(engine, "\xff", &other) == UNSPOKEN_CODE_NOT_UTF8);
  CHECK(unspoken_profile_open(engine, "sam", NULL) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(unspoken_profile_import(engine, "/nowhere/at/all", NULL, &other) != UNSPOKEN_CODE_OK);
  CHECK(other == NULL);
  OK(unspoken_profile_open(engine, "sam", &sam));
  OK(unspoken_profile_open(engine, "sam", &other));
  CHECK(strcmp(unspoken_profile_name(sam), "sam") == 0);
  CHECK(unspoken_profile_name((const unspoken_profile *)engine) == NULL);

  /* Stated, listed, corrected, thrown out. */
  CHECK(unspoken_profile_state(NULL, "x", &id) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_profile_state((const unspoken_profile *)engine, "x", &id) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_profile_state(sam, NULL, &id) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(unspoken_profile_state(sam, "  ", &id) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(unspoken_profile_state(sam, "\xc3", &id) == UNSPOKEN_CODE_NOT_UTF8);
  OK(unspoken_profile_state(sam, "I avoid crowds.", &id));
  OK(unspoken_profile_state(sam, "I eat no fish.", &second));
  CHECK(id > 0 && second != id);
  CHECK(unspoken_profile_edit(sam, 12345, "x") == UNSPOKEN_CODE_NO_SUCH_ITEM);
  CHECK(unspoken_profile_edit(sam, second, NULL) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  OK(unspoken_profile_edit(sam, second, "I eat no meat."));
  CHECK(unspoken_profile_preferences(sam, NULL) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  OK(unspoken_profile_preferences(other, &texts));
  CHECK(unspoken_texts_count(texts) == 2 && unspoken_texts_id(texts, 1) == second);
  CHECK(strcmp(unspoken_texts_get(texts, 1), "I eat no meat.") == 0);
  CHECK(unspoken_texts_get(texts, 2) == NULL && unspoken_texts_id(texts, 2) == -1);
  CHECK(unspoken_texts_count((const unspoken_texts *)sam) == 0 && unspoken_texts_get(NULL, 0) == NULL);
  OK(unspoken_texts_free(texts));
  CHECK(unspoken_texts_free(texts) == UNSPOKEN_CODE_BAD_HANDLE);
  OK(unspoken_profile_remove(sam, second));
  CHECK(unspoken_profile_remove(sam, second) == UNSPOKEN_CODE_NO_SUCH_ITEM);

  CHECK(unspoken_profile_rate(sam, 12345, 1.0f) == UNSPOKEN_CODE_NO_SUCH_ITEM);
  CHECK(unspoken_profile_correct(sam, 12345, "x") == UNSPOKEN_CODE_NO_SUCH_ITEM);
  CHECK(unspoken_profile_correct(sam, 12345, NULL) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(unspoken_profile_learn(sam, 12345, &texts) == UNSPOKEN_CODE_NO_SUCH_ITEM);
  CHECK(unspoken_profile_hold_out(sam, "{") == UNSPOKEN_CODE_DATA);
  CHECK(unspoken_profile_hold_out(sam, NULL) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  OK(unspoken_profile_hold_out(sam, RECORD));
  CHECK(unspoken_profile_version(sam) == 0 && unspoken_profile_version(NULL) == -1);
  CHECK(unspoken_profile_use_version(sam, 7) == UNSPOKEN_CODE_NO_SUCH_ITEM);
  CHECK(unspoken_profile_roll_back(sam) == UNSPOKEN_CODE_INVALID_ARGUMENT);

  freed = other;
  OK(unspoken_profile_cancel(other));
  OK(unspoken_profile_free(other));
  CHECK(unspoken_profile_state(freed, "x", NULL) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_profile_free(freed) == UNSPOKEN_CODE_BAD_HANDLE);
  OK(unspoken_profile_free(NULL));
  return sam;
}

static void adaptations(const unspoken_engine *engine, const unspoken_profile *sam) {
  const char *questions[] = {"Where to?", "What to eat?"}, *odd[] = {"\xff\xfe"}, *none[] = {NULL};
  unspoken_adaptation_params good = two_steps(questions, 2), bad;
  unspoken_adaptation *job = NULL, *freed;
  unspoken_profile *nobody = NULL;
  unspoken_step_report step = {0};
  unspoken_outcome outcome;
  struct listening listening = {UNSPOKEN_CONTROL_PAUSE, 0};
  int32_t end = -1;

  CHECK(unspoken_adaptation_create(NULL, &good, &job) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_adaptation_create((const unspoken_profile *)engine, &good, &job) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_adaptation_create(sam, &good, NULL) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  refused(sam, two_steps(NULL, 2), UNSPOKEN_CODE_INVALID_ARGUMENT);
  refused(sam, two_steps(none, 1), UNSPOKEN_CODE_INVALID_ARGUMENT);
  refused(sam, two_steps(odd, 1), UNSPOKEN_CODE_NOT_UTF8);
  /* Nothing was asked yet from which questions could be taken. */
  refused(sam, two_steps(NULL, 0), UNSPOKEN_CODE_INVALID_ARGUMENT);
  bad = good, bad.group = 1;
  refused(sam, bad, UNSPOKEN_CODE_INVALID_ARGUMENT);
  bad = good, bad.rank = 0;
  refused(sam, bad, UNSPOKEN_CODE_INVALID_ARGUMENT);
  bad = good, bad.rank = UINT32_MAX;
  refused(sam, bad, UNSPOKEN_CODE_INVALID_ARGUMENT);
  bad = good, bad.max_tokens = 0;
  refused(sam, bad, UNSPOKEN_CODE_INVALID_ARGUMENT);
  bad = good, bad.max_tokens = SIZE_MAX;
  refused(sam, bad, UNSPOKEN_CODE_INVALID_ARGUMENT);
  bad = good, bad.lr = -1.0f;
  refused(sam, bad, UNSPOKEN_CODE_INVALID_ARGUMENT);
  bad = good, bad.budget_bytes = 1;
  refused(sam, bad, UNSPOKEN_CODE_OUT_OF_MEMORY);
  bad = good, bad.job = 12345;
  refused(sam, bad, UNSPOKEN_CODE_NO_SUCH_ITEM);
  bad = good, bad.records = "/nowhere/at/all.jsonl";
  refused(sam, bad, UNSPOKEN_CODE_NOT_FOUND);
  bad = good, bad.size = 4;
  refused(sam, bad, UNSPOKEN_CODE_INVALID_ARGUMENT);
  OK(unspoken_profile_open(engine, "nobody", &nobody));
  refused(nobody, good, UNSPOKEN_CODE_INVALID_ARGUMENT);
  OK(unspoken_profile_free(nobody));

  CHECK(unspoken_adaptation_step(NULL, NULL, NULL, &step) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_adaptation_run((const unspoken_adaptation *)sam, NULL, NULL, &end) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_adaptation_conclude(NULL, &outcome) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_adaptation_id(NULL) == -1);
  CHECK(unspoken_adaptation_cancel(NULL) == UNSPOKEN_CODE_BAD_HANDLE);

  /* Paused and stopped by its callback, which changes nothing; then to its end. */
  OK(unspoken_adaptation_create(sam, &good, &job));
  CHECK(unspoken_adaptation_id(job) > 0);
  OK(unspoken_adaptation_run(job, on_progress, &listening, &end));
  CHECK(end == UNSPOKEN_RUN_END_PAUSED && listening.called > 0);
  listening.answer = UNSPOKEN_CONTROL_STOP;
  OK(unspoken_adaptation_run(job, on_progress, &listening, &end));
  CHECK(end == UNSPOKEN_RUN_END_STOPPED);
  OK(unspoken_adaptation_cancel(job));
  OK(unspoken_adaptation_step(job, on_progress, &listening, &step));
  CHECK(step.step == 0);
  listening.answer = UNSPOKEN_CONTROL_CONTINUE;
  OK(unspoken_adaptation_step(job, on_progress, &listening, &step));
  CHECK(step.step == 1 && step.tokens > 0);
  OK(unspoken_adaptation_run(job, NULL, NULL, &end));
  CHECK(end == UNSPOKEN_RUN_END_DONE);
  OK(unspoken_adaptation_conclude(job, &outcome));
  CHECK(outcome.tokens >= step.tokens && outcome.version == (outcome.committed ? 1 : 0));
  CHECK(outcome.version == unspoken_profile_version(sam));
  CHECK(unspoken_adaptation_conclude(job, &outcome) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(unspoken_adaptation_step(job, NULL, NULL, &step) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  freed = job;
  OK(unspoken_adaptation_free(job));
  CHECK(unspoken_adaptation_free(freed) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_adaptation_step(freed, NULL, NULL, &step) == UNSPOKEN_CODE_BAD_HANDLE);
}

static void evaluations(const unspoken_engine *engine, const unspoken_profile *sam, const char *records) {
  unspoken_evaluation *evaluation = NULL;
  unspoken_evaluation_report report;
  int go_on = 1;

  CHECK(unspoken_evaluation_create(NULL, NULL, &evaluation) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_evaluation_create(engine, "/nowhere/at/all.gguf", &evaluation) == UNSPOKEN_CODE_NOT_FOUND);
  CHECK(unspoken_evaluation_create(engine, NULL, NULL) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(unspoken_evaluation_of_profile((const unspoken_profile *)engine, &evaluation) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(evaluation == NULL);
  OK(unspoken_evaluation_of_profile(sam, &evaluation));
  CHECK(unspoken_evaluation_run(NULL, records, 1, NULL, NULL, &report) == UNSPOKEN_CODE_BAD_HANDLE);
  CHECK(unspoken_evaluation_run(evaluation, NULL, 1, NULL, NULL, &report) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  CHECK(unspoken_evaluation_run(evaluation, "\xff", 1, NULL, NULL, &report) == UNSPOKEN_CODE_NOT_UTF8);
  CHECK(unspoken_evaluation_run(evaluation, "/nowhere/at/all.jsonl", 1, NULL, NULL, &report) == UNSPOKEN_CODE_NOT_FOUND);
  CHECK(unspoken_evaluation_run(evaluation, records, 1, NULL, NULL, NULL) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  OK(unspoken_evaluation_run(evaluation, records, 1, on_record, &go_on, &report));
  CHECK(report.n == 1 && report.hits <= 1 && report.low <= report.high);
  CHECK(report.fitting_share > 0 && report.fitting_share < 1);
  go_on = 0;
  CHECK(unspoken_evaluation_run(evaluation, records, 1, on_record, &go_on, &report) == UNSPOKEN_CODE_CANCELLED);
  OK(unspoken_evaluation_cancel(evaluation));
  OK(unspoken_evaluation_free(evaluation));
  CHECK(unspoken_evaluation_free(evaluation) == UNSPOKEN_CODE_BAD_HANDLE);
}

int main(int argc, char **argv) {
  unspoken_engine *engine, *without_store;
  unspoken_profile *sam, *ada = NULL;
  unspoken_texts *texts = NULL;
  char records[1024], export[1024];
  FILE *file;

  CHECK(argc == 3);
  CHECK((size_t)snprintf(records, sizeof records, "%s/records.jsonl", argv[2]) < sizeof records);
  CHECK((size_t)snprintf(export, sizeof export, "%s/export", argv[2]) < sizeof export);
  engine = load_with_store(argv[1], 1, argv[2]);
  CHECK((file = fopen(records, "w")) != NULL && fputs(RECORD, file) >= 0 && fclose(file) == 0);
  without_store = load(argv[1], 1);
  sam = profiles(engine, without_store);
  OK(unspoken_engine_free(without_store));
  adaptations(engine, sam);
  evaluations(engine, sam, records);

  /* Taken away, taken in under another name, forgotten. */
  CHECK(unspoken_profile_export(sam, NULL) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  OK(unspoken_profile_export(sam, export));
  CHECK(unspoken_profile_import(engine, export, "sam", &ada) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  OK(unspoken_profile_import(engine, export, "ada", &ada));
  OK(unspoken_profile_preferences(ada, &texts));
  CHECK(unspoken_texts_count(texts) == 1 && strcmp(unspoken_texts_get(texts, 0), "I avoid crowds.") == 0);
  OK(unspoken_texts_free(texts));
  CHECK(unspoken_engine_delete_user(engine, "eve") == UNSPOKEN_CODE_NO_USER);
  CHECK(unspoken_engine_delete_user(engine, NULL) == UNSPOKEN_CODE_INVALID_ARGUMENT);
  OK(unspoken_engine_delete_user(engine, "sam"));
  CHECK(unspoken_profile_state(sam, "x", NULL) == UNSPOKEN_CODE_NO_USER);
  OK(unspoken_engine_users(engine, &texts));
  CHECK(unspoken_texts_count(texts) == 2);
  OK(unspoken_texts_free(texts));
  OK(unspoken_engine_free(engine));
  OK(unspoken_profile_free(ada));
  OK(unspoken_profile_free(sam));
  puts("ok");
  return 0;
}
