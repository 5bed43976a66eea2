/* Unspoken in C: an assistant on this device that adapts to its user. MIT OR Apache-2.0.
 *
 * Objects are opaque handles, made by *_create, *_load and their like and given back by *_free, in any order. A
 * handle is no address: one that is null, was freed or is of another type is told as an error. A call returns an
 * unspoken_code, 0 for success; unspoken_last_error has the text of the thread's last failure. Every handle may be
 * used from every thread. Text is UTF-8 that ends with a zero byte.
 */

#ifndef UNSPOKEN_H
#define UNSPOKEN_H

/* Written by cbindgen: see ffi/tests/header.rs. */

#include <stddef.h>
#include <stdint.h>

// The version of this header. It changes where a program must be compiled again: also where a struct of parameters has
// grown, because its `*_default_params` returns it whole.
#define UNSPOKEN_ABI_VERSION 1

// What went wrong, as a number. Numbers never change their meaning and are never used again.
enum unspoken_code
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Nothing went wrong.
  UNSPOKEN_CODE_OK = 0,
  // A value that makes no sense; the text says which and why.
  UNSPOKEN_CODE_INVALID_ARGUMENT = 1,
  // The host stopped the call. A reply that was stopped is no error: it has its text so far.
  UNSPOKEN_CODE_CANCELLED = 2,
  // The system refused to read or write.
  UNSPOKEN_CODE_IO = 3,
  // A file that is not there.
  UNSPOKEN_CODE_NOT_FOUND = 4,
  // A defect of this library, caught at its border. The handle can still be used and freed.
  UNSPOKEN_CODE_PANICKED = 5,
  // Somebody else is doing what cannot be done twice at a time.
  UNSPOKEN_CODE_BUSY = 6,
  // A handle that is null, freed, or of another type.
  UNSPOKEN_CODE_BAD_HANDLE = 7,
  // Text that is not UTF-8.
  UNSPOKEN_CODE_NOT_UTF8 = 8,
  // A part that this build leaves out.
  UNSPOKEN_CODE_NOT_BUILT_IN = 9,
  // The engine was loaded without a critic.
  UNSPOKEN_CODE_NO_CRITIC = 10,
  // Not a GGUF file, or one of a version or byte order that is not read.
  UNSPOKEN_CODE_NOT_GGUF = 20,
  // A GGUF file that contradicts itself or ends too early.
  UNSPOKEN_CODE_CORRUPT_FILE = 21,
  // An architecture, a weight type or a vocabulary that is not built in.
  UNSPOKEN_CODE_UNSUPPORTED_MODEL = 22,
  // A model whose configuration and tensors do not fit each other.
  UNSPOKEN_CODE_BAD_MODEL = 23,
  // Text that could not be cut into tokens.
  UNSPOKEN_CODE_TOKENIZE = 30,
  // A token outside of the vocabulary.
  UNSPOKEN_CODE_BAD_TOKEN = 31,
  // The model has no chat template.
  UNSPOKEN_CODE_NO_CHAT_TEMPLATE = 32,
  // The chat template failed or refused the messages.
  UNSPOKEN_CODE_TEMPLATE = 33,
  // A grammar that cannot be used.
  UNSPOKEN_CODE_GRAMMAR = 34,
  // No GPU was found.
  UNSPOKEN_CODE_NO_GPU = 40,
  // Memory was refused, or a buffer is larger than the device can bind.
  UNSPOKEN_CODE_OUT_OF_MEMORY = 41,
  // The device went away. Load the engine again.
  UNSPOKEN_CODE_DEVICE_LOST = 42,
  // The device failed.
  UNSPOKEN_CODE_DEVICE_FAILED = 43,
  // Worker threads could not be started.
  UNSPOKEN_CODE_THREADS = 44,
  // More tokens than a sequence may have.
  UNSPOKEN_CODE_CONTEXT_FULL = 50,
  // The key/value cache is full.
  UNSPOKEN_CODE_CACHE_FULL = 51,
  // An adapter that does not fit its base model, or that changes nothing.
  UNSPOKEN_CODE_ADAPTER = 52,
  // Preference data that are not what they should be.
  UNSPOKEN_CODE_DATA = 60,
  // The disk is full. What was kept before is still there.
  UNSPOKEN_CODE_DISK_FULL = 70,
  // The store was encrypted with another key.
  UNSPOKEN_CODE_WRONG_KEY = 71,
  // The store is encrypted and no key was given.
  UNSPOKEN_CODE_KEY_NEEDED = 72,
  // A key was given, and the store was made without one.
  UNSPOKEN_CODE_NOT_ENCRYPTED = 73,
  // A later version of the library made the store.
  UNSPOKEN_CODE_NEWER_STORE = 74,
  // What is on disk contradicts itself.
  UNSPOKEN_CODE_DAMAGED_STORE = 75,
  // There is no such user, or not any more.
  UNSPOKEN_CODE_NO_USER = 76,
  // The user has no such preference, message, job or version.
  UNSPOKEN_CODE_NO_SUCH_ITEM = 77,
  // An export that cannot be read back.
  UNSPOKEN_CODE_BAD_EXPORT = 78,
  // Anything else that the database says.
  UNSPOKEN_CODE_DATABASE = 79,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unspoken_code unspoken_code;
#else
typedef int32_t unspoken_code;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Where an engine runs.
enum unspoken_device
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // A real GPU where there is one, else the CPU.
  UNSPOKEN_DEVICE_AUTO = 0,
  // The CPU.
  UNSPOKEN_DEVICE_CPU = 1,
  // A GPU, software ones included; an error where there is none.
  UNSPOKEN_DEVICE_GPU = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unspoken_device unspoken_device;
#else
typedef int32_t unspoken_device;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a critic's scores are read off.
enum unspoken_reader
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // The number that it writes.
  UNSPOKEN_READER_STATED = 0,
  // The probabilities of its verdict, after its critique.
  UNSPOKEN_READER_VERDICT = 1,
  // The same, asked for before a word of critique: for critics that learned replies.
  UNSPOKEN_READER_AT_ONCE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unspoken_reader unspoken_reader;
#else
typedef int32_t unspoken_reader;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The type of the keys and values that a conversation keeps.
enum unspoken_kv
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Floats.
  UNSPOKEN_KV_F32 = 0,
  // Halves: half of the memory.
  UNSPOKEN_KV_F16 = 1,
  // Eight bits: 28 % of the memory; for models with heads of a multiple of 32.
  UNSPOKEN_KV_Q8_0 = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unspoken_kv unspoken_kv;
#else
typedef int32_t unspoken_kv;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Why a reply ended.
enum unspoken_stop_reason
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // The model ended it.
  UNSPOKEN_STOP_REASON_END = 0,
  // It has all tokens that were asked for.
  UNSPOKEN_STOP_REASON_LENGTH = 1,
  // A stop string came.
  UNSPOKEN_STOP_REASON_STOP_STRING = 2,
  // A grammar is complete.
  UNSPOKEN_STOP_REASON_GRAMMAR = 3,
  // The host stopped it.
  UNSPOKEN_STOP_REASON_CANCELLED = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unspoken_stop_reason unspoken_stop_reason;
#else
typedef int32_t unspoken_stop_reason;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How much is logged.
enum unspoken_log_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // What went wrong.
  UNSPOKEN_LOG_LEVEL_ERROR = 1,
  // What looks wrong.
  UNSPOKEN_LOG_LEVEL_WARN = 2,
  // What happens.
  UNSPOKEN_LOG_LEVEL_INFO = 3,
  // What helps to find a defect.
  UNSPOKEN_LOG_LEVEL_DEBUG = 4,
  // Everything.
  UNSPOKEN_LOG_LEVEL_TRACE = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unspoken_log_level unspoken_log_level;
#else
typedef int32_t unspoken_log_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a job is doing.
enum unspoken_phase
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // The policy answers.
  UNSPOKEN_PHASE_ROLLOUTS = 0,
  // The critic reads.
  UNSPOKEN_PHASE_CRITIQUES = 1,
  // The policy answers again, with a critique at hand.
  UNSPOKEN_PHASE_REFINEMENT = 2,
  // The adapter changes.
  UNSPOKEN_PHASE_UPDATE = 3,
  // Rows that are not trained are measured.
  UNSPOKEN_PHASE_VALIDATION = 4,
  // A step is done.
  UNSPOKEN_PHASE_STEP_DONE = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unspoken_phase unspoken_phase;
#else
typedef int32_t unspoken_phase;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a host answers while a job runs.
enum unspoken_control
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Go on.
  UNSPOKEN_CONTROL_CONTINUE = 0,
  // Leave off; the job can be run again. For a closed gate, too: hot, on battery, in use.
  UNSPOKEN_CONTROL_PAUSE = 1,
  // End. Other numbers mean this.
  UNSPOKEN_CONTROL_STOP = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unspoken_control unspoken_control;
#else
typedef int32_t unspoken_control;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Why a run ended.
enum unspoken_run_end
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // All steps are done.
  UNSPOKEN_RUN_END_DONE = 0,
  // The budget is used up.
  UNSPOKEN_RUN_END_BUDGET = 1,
  // The host paused it.
  UNSPOKEN_RUN_END_PAUSED = 2,
  // The host stopped it.
  UNSPOKEN_RUN_END_STOPPED = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unspoken_run_end unspoken_run_end;
#else
typedef int32_t unspoken_run_end;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A job that adapts the policy to a user. Nothing changes for the user before it is concluded.
typedef struct unspoken_adaptation unspoken_adaptation;

// A conversation with memory.
typedef struct unspoken_chat unspoken_chat;

// Reads answers for a user. All critics of an engine take turns.
typedef struct unspoken_critic unspoken_critic;

// What the critic says of a response.
typedef struct unspoken_critique unspoken_critique;

// Weights on a device. Heavy; share it.
typedef struct unspoken_engine unspoken_engine;

// Choice accuracy on records: of four answers, is the one that fits the likeliest?
typedef struct unspoken_evaluation unspoken_evaluation;

// What was said so far.
typedef struct unspoken_messages unspoken_messages;

// A user: what they prefer, what they said, the adapter that fits them.
typedef struct unspoken_profile unspoken_profile;

// What the assistant said.
typedef struct unspoken_reply unspoken_reply;

// A reply that is being computed on a thread of its own.
typedef struct unspoken_stream unspoken_stream;

// Texts in a row: names of users, preferences.
typedef struct unspoken_texts unspoken_texts;

// What an adaptation is made with. Begin with `unspoken_adaptation_default_params`.
typedef struct {
  // Bytes of this struct.
  size_t size;
  // What the user might ask; null for the user's own messages.
  const char *const *questions;
  // How many.
  size_t question_count;
  // A file of records (JSON lines) to learn from, besides, or null.
  const char *records;
  // Steps.
  size_t steps;
  // Answers that are compared in a step; 2 or more.
  size_t group;
  // Tokens of such an answer at the most.
  size_t max_tokens;
  // Learning rate.
  float lr;
  // Rank of a new adapter.
  uint32_t rank;
  // Passes over the good answers of the records before that.
  size_t warm_start;
  // Seed of everything random.
  uint64_t seed;
  // Tokens that may be computed; 0 for any number.
  uint64_t budget_tokens;
  // Seconds that may be spent; 0 for any number.
  double budget_seconds;
  // Bytes of its own buffers; 0 for any number.
  uint64_t budget_bytes;
  // A job of the user's to go on with, begun with the same parameters; 0 for a new one.
  int64_t job;
} unspoken_adaptation_params;

// How far a job is.
typedef struct {
  // An `unspoken_phase`.
  int32_t phase;
  // Steps done.
  size_t step;
  // Steps in all.
  size_t steps;
  // Tokens computed so far.
  uint64_t tokens;
  // Seconds spent so far.
  double seconds;
} unspoken_progress;

// Is told how far a job is, on the thread that runs it; returns an `unspoken_control`.
typedef int32_t (*unspoken_progress_callback)(const unspoken_progress *progress, void *user_data);

// What a step did.
typedef struct {
  // Its number, from 1; 0 where there was none: no step is left, the budget is used up, or it was stopped.
  size_t step;
  // Mean score of its answers, from −1 to 1; not a number where all critiques failed or there were none.
  float mean_reward;
  // Steps critiqued.
  size_t critiques;
  // Those whose critique failed.
  size_t critiques_failed;
  // The gradient's norm before clipping.
  float grad_norm;
  // Tokens that it computed.
  uint64_t tokens;
  // Seconds that it took.
  double seconds;
} unspoken_step_report;

// What became of an adaptation.
typedef struct {
  // The version that is in use now; 0 for the base model.
  int64_t version;
  // Other than 0 where it is a new one.
  int32_t committed;
  // Held-out records; 0 where the user has none or nothing was learned.
  size_t held_out;
  // Right choices among them before.
  size_t hits_before;
  // Right choices among them after.
  size_t hits_after;
  // Tokens computed.
  uint64_t tokens;
  // Seconds spent.
  double seconds;
} unspoken_outcome;

// What a conversation is made with. Begin with `unspoken_chat_default_params`.
typedef struct {
  // Bytes of this struct.
  size_t size;
  // What the assistant is told first, or null.
  const char *system;
  // Tokens of prompt and reply together that are kept in view.
  size_t context_tokens;
  // A LoRA adapter (GGUF), or null.
  const char *adapter;
  // The user, or null: the assistant is told what they prefer and answers in steps with their adapter, and the
  // conversation is kept in the store.
  const unspoken_profile *profile;
  // An `unspoken_kv`.
  int32_t kv;
} unspoken_chat_params;

// How a reply is made. Begin with `unspoken_reply_default_params`.
typedef struct {
  // Bytes of this struct.
  size_t size;
  // Tokens at the most.
  size_t max_tokens;
  // Divides the logits; 0 takes the likeliest token each time.
  float temperature;
  // Only the likeliest tokens that together have this probability; 1 for all.
  float top_p;
  // Only tokens at least this probable relative to the likeliest; 0 for all.
  float min_p;
  // Only the k likeliest tokens; 0 for all.
  uint32_t top_k;
  // The same seed gives the same reply.
  uint64_t seed;
  // Strings before which the reply ends, or null.
  const char *const *stop;
  // How many.
  size_t stop_count;
} unspoken_reply_params;

// Gets new text of a reply, `len` bytes and a zero byte behind them, in whole characters. Returns other than 0
// to go on.
typedef int32_t (*unspoken_text_callback)(const char *text, size_t len, void *user_data);

// A message of a conversation.
typedef struct {
  // Who speaks: "system", "user" or "assistant".
  const char *role;
  // What they say.
  const char *content;
} unspoken_message;

// What the critic says of one step.
typedef struct {
  // The step.
  const char *step;
  // The critique.
  const char *critique;
  // Its score from −1 to 1; not a number where the critique failed.
  float score;
  // Other than 0 where it failed.
  int32_t failed;
} unspoken_step_critique;

// What an engine is loaded with. Begin with `unspoken_engine_default_params`.
typedef struct {
  // Bytes of this struct.
  size_t size;
  // The policy's model file (GGUF).
  const char *policy;
  // Other than 0 to load a critic.
  int32_t with_critic;
  // The critic's model file (GGUF); null for the policy's weights, which are then in memory once.
  const char *critic;
  // The critic's LoRA adapter (GGUF), or null.
  const char *critic_adapter;
  // An `unspoken_device`.
  int32_t device;
  // CPU threads; 0 for as many as there are fast cores.
  uint32_t threads;
  // The folder where users are kept, or null. Nothing is written elsewhere.
  const char *store;
  // 32 bytes that encrypt what is personal in there, or null; the library keeps them in memory only.
  const uint8_t *store_key;
  // An `unspoken_reader`.
  int32_t critic_reader;
} unspoken_engine_params;

// Is told how many records of how many are measured; returns other than 0 to go on.
typedef int32_t (*unspoken_evaluation_callback)(size_t done, size_t all, void *user_data);

// How many choices were right.
typedef struct {
  // Records.
  size_t n;
  // Right choices.
  size_t hits;
  // The lower end of the 95 % interval of their share.
  double low;
  // The upper end.
  double high;
  // Mean probability of the right choice: moves where the accuracy does not yet.
  double fitting_share;
} unspoken_evaluation_report;

// Gets a log line with its `unspoken_log_level`, from any thread.
typedef void (*unspoken_log_callback)(int32_t level, const char *module, const char *text, void *user_data);







#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// `UNSPOKEN_ABI_VERSION` of the library: another number than the header's means that they do not belong together.
uint32_t unspoken_abi_version(void);

// The library's version: "0.1.0". Never freed.
const char *unspoken_version(void);

// CDPA: 8 steps of 4 answers of 160 tokens.
unspoken_adaptation_params unspoken_adaptation_default_params(void);

// Makes a job that adapts the policy to a user into `*out`. Null parameters are the default ones.
//
// # Safety
// Pointers are null or valid; text ends with a zero byte.
unspoken_code unspoken_adaptation_create(const unspoken_profile *profile,
                                         const unspoken_adaptation_params *params,
                                         unspoken_adaptation **out);

// Gives a job back. It can be gone on with by its number. Null is nothing.
unspoken_code unspoken_adaptation_free(unspoken_adaptation *adaptation);

// A job's number among the user's; −1 for a bad handle.
int64_t unspoken_adaptation_id(const unspoken_adaptation *adaptation);

// One step; `*out`, where that is not null, says what it did. `on_progress` may be null.
//
// # Safety
// `out` is null or valid.
unspoken_code unspoken_adaptation_step(const unspoken_adaptation *adaptation,
                                       unspoken_progress_callback on_progress,
                                       void *user_data,
                                       unspoken_step_report *out);

// Runs until all steps are done, the budget is used up, or the host says so; `*end`, where that is not null, gets an
// `unspoken_run_end`. May be called again.
//
// # Safety
// `end` is null or valid.
unspoken_code unspoken_adaptation_run(const unspoken_adaptation *adaptation,
                                      unspoken_progress_callback on_progress,
                                      void *user_data,
                                      int32_t *end);

// Stops the calls that have begun on this job, from any thread. The step that is under way changes nothing.
unspoken_code unspoken_adaptation_cancel(const unspoken_adaptation *adaptation);

// Measures the user's held-out records again, and makes the adapter their new version, or drops it where it made
// them worse or where nothing was learned. Ends the job; `out` may be null.
//
// # Safety
// `out` is null or valid.
unspoken_code unspoken_adaptation_conclude(const unspoken_adaptation *adaptation,
                                           unspoken_outcome *out);

// 2048 tokens in view.
unspoken_chat_params unspoken_chat_default_params(void);

// 512 tokens at temperature 0.8.
unspoken_reply_params unspoken_reply_default_params(void);

// Makes a conversation into `*out`. Null parameters are the default ones.
//
// # Safety
// Pointers are null or valid; text ends with a zero byte.
unspoken_code unspoken_chat_create(const unspoken_engine *engine,
                                   const unspoken_chat_params *params,
                                   unspoken_chat **out);

// Gives a conversation back. Null is nothing.
unspoken_code unspoken_chat_free(unspoken_chat *chat);

// Says `text` and waits for the reply, which `*out` gets; `out` may be null.
//
// # Safety
// Pointers are null or valid; text ends with a zero byte.
unspoken_code unspoken_chat_send(const unspoken_chat *chat,
                                 const char *text,
                                 const unspoken_reply_params *params,
                                 unspoken_reply **out);

// As `unspoken_chat_send`; `on_text` gets the reply as it comes, on this thread.
//
// # Safety
// As `unspoken_chat_send`.
unspoken_code unspoken_chat_send_with(const unspoken_chat *chat,
                                      const char *text,
                                      const unspoken_reply_params *params,
                                      unspoken_text_callback on_text,
                                      void *user_data,
                                      unspoken_reply **out);

// Stops the replies that have begun on this conversation, from any thread: their calls return what was said
// until then.
unspoken_code unspoken_chat_cancel(const unspoken_chat *chat);

// A conversation's number in the user's store; −1 without a profile, before the first reply, or for a bad handle.
int64_t unspoken_chat_conversation(const unspoken_chat *chat);

// Gives what was said so far, the system message left out, to `*out`.
//
// # Safety
// `out` is null or valid.
unspoken_code unspoken_chat_messages(const unspoken_chat *chat, unspoken_messages **out);

// Goes on from `count` other messages; none to begin anew.
//
// # Safety
// `messages` is null or has `count` of them, with text that ends with zero bytes.
unspoken_code unspoken_chat_set_messages(const unspoken_chat *chat,
                                         const unspoken_message *messages,
                                         size_t count);

// How many messages; 0 for a bad handle.
size_t unspoken_messages_count(const unspoken_messages *messages);

// A message, from 0 on; nulls for a bad handle or a number that is too high. Valid while `messages` is.
unspoken_message unspoken_messages_get(const unspoken_messages *messages, size_t index);

// Gives messages back. Null is nothing.
unspoken_code unspoken_messages_free(unspoken_messages *messages);

// A reply's text, and its length in bytes where `len` is not null. Valid while the reply is; null for a bad handle.
//
// # Safety
// `len` is null or valid.
const char *unspoken_reply_text(const unspoken_reply *reply,
                                size_t *len);

// A reply's last step without the mark before it: what to show where the steps before are not. Valid while the reply
// is; null for a bad handle.
const char *unspoken_reply_answer(const unspoken_reply *reply);

// A reply's number in the user's store, for feedback; −1 without a profile or for a bad handle.
int64_t unspoken_reply_message(const unspoken_reply *reply);

// A reply's tokens, `*count` of them, the end token included where the model ended it. Valid while the reply is;
// null for a bad handle.
//
// # Safety
// `count` is null or valid.
const uint32_t *unspoken_reply_tokens(const unspoken_reply *reply,
                                      size_t *count);

// Why a reply ended: an `unspoken_stop_reason`; −1 for a bad handle.
int32_t unspoken_reply_stop_reason(const unspoken_reply *reply);

// Tokens of a reply's prompt; 0 for a bad handle.
size_t unspoken_reply_prompt_tokens(const unspoken_reply *reply);

// The oldest messages that did not fit into a reply's prompt any more; 0 for a bad handle.
size_t unspoken_reply_left_out(const unspoken_reply *reply);

// Seconds that a reply took, until its first text or (`whole` other than 0) in all; 0 for a bad handle.
double unspoken_reply_seconds(const unspoken_reply *reply, int32_t whole);

// Gives a reply back. Null is nothing.
unspoken_code unspoken_reply_free(unspoken_reply *reply);

// Gives a handle on the engine's critic to `*out`.
//
// # Safety
// `out` is null or valid.
unspoken_code unspoken_critic_create(const unspoken_engine *engine, unspoken_critic **out);

// Critiques each step of `response` ("Step 1: …", or all of it as one step) into `*out`.
//
// # Safety
// Pointers are null or valid; text ends with a zero byte.
unspoken_code unspoken_critic_critique(const unspoken_critic *critic,
                                       const char *preference,
                                       const char *query,
                                       const char *response,
                                       unspoken_critique **out);

// Stops the critiques that have begun on this handle, from any thread; their calls return
// `UNSPOKEN_CODE_CANCELLED`.
unspoken_code unspoken_critic_cancel(const unspoken_critic *critic);

// Gives a critic's handle back. Null is nothing.
unspoken_code unspoken_critic_free(unspoken_critic *critic);

// The mean score of a critique's steps from −1 to 1; not a number where all failed or for a bad handle.
float unspoken_critique_score(const unspoken_critique *critique);

// How many steps a critique has; 0 for a bad handle.
size_t unspoken_critique_count(const unspoken_critique *critique);

// A step of a critique, from 0 on; nulls for a bad handle or a number that is too high. Valid while the critique
// is.
unspoken_step_critique unspoken_critique_step(const unspoken_critique *critique,
                                              size_t index);

// Gives a critique back. Null is nothing.
unspoken_code unspoken_critique_free(unspoken_critique *critique);

// The best device, no critic.
unspoken_engine_params unspoken_engine_default_params(void);

// Loads an engine into `*out`.
//
// # Safety
// Pointers are null or valid; text ends with a zero byte.
unspoken_code unspoken_engine_load(const unspoken_engine_params *params, unspoken_engine **out);

// Gives an engine back. Handles made from it stay good. Null is nothing.
unspoken_code unspoken_engine_free(unspoken_engine *engine);

// What it runs on: "cpu (2 threads, avx2)". Valid while the engine is; null for a bad handle.
const char *unspoken_engine_device_name(const unspoken_engine *engine);

// Tokens that the policy was trained to keep in view; 0 for a bad handle.
size_t unspoken_engine_context_length(const unspoken_engine *engine);

// Bytes of its weights; 0 for a bad handle.
size_t unspoken_engine_weight_bytes(const unspoken_engine *engine);

// Writes the policy's tokens of `text` to `tokens` where they fit into `capacity`, and their number to `*count`
// always. `tokens` may be null where `capacity` is 0.
//
// # Safety
// Pointers are null or valid; `tokens` has room for `capacity` numbers.
unspoken_code unspoken_engine_tokenize(const unspoken_engine *engine,
                                       const char *text,
                                       uint32_t *tokens,
                                       size_t capacity,
                                       size_t *count);

// An evaluation of the policy into `*out`, with a LoRA adapter (GGUF) where `adapter` is not null.
//
// # Safety
// Pointers are null or valid; text ends with a zero byte.
unspoken_code unspoken_evaluation_create(const unspoken_engine *engine,
                                         const char *adapter,
                                         unspoken_evaluation **out);

// An evaluation with the version of the adapter that a user has now, into `*out`.
//
// # Safety
// `out` is null or valid.
unspoken_code unspoken_evaluation_of_profile(const unspoken_profile *profile, unspoken_evaluation **out);

// Measures a file of records (JSON lines), with the preference in the prompt where `with_preference` is not 0.
// `on_progress` may be null.
//
// # Safety
// Pointers are null or valid; text ends with a zero byte.
unspoken_code unspoken_evaluation_run(const unspoken_evaluation *evaluation,
                                      const char *records,
                                      int32_t with_preference,
                                      unspoken_evaluation_callback on_progress,
                                      void *user_data,
                                      unspoken_evaluation_report *out);

// Stops the calls that have begun, from any thread.
unspoken_code unspoken_evaluation_cancel(const unspoken_evaluation *evaluation);

// Gives an evaluation back. Null is nothing.
unspoken_code unspoken_evaluation_free(unspoken_evaluation *evaluation);

// Gives log lines up to `level` (an `unspoken_log_level`) to `callback`; null stops that.
//
// # Safety
// `callback` may be called from any thread with `user_data` until another one is set.
unspoken_code unspoken_set_log(int32_t level, unspoken_log_callback callback, void *user_data);

// Gives the user of this name, who is new where there is none yet, to `*out`.
//
// # Safety
// Pointers are null or valid; text ends with a zero byte.
unspoken_code unspoken_profile_open(const unspoken_engine *engine, const char *name, unspoken_profile **out);

// Takes in what `unspoken_profile_export` wrote, under another name where `name` is not null.
//
// # Safety
// As `unspoken_profile_open`.
unspoken_code unspoken_profile_import(const unspoken_engine *engine,
                                      const char *folder,
                                      const char *name,
                                      unspoken_profile **out);

// Gives the handle back; the user stays. Null is nothing.
unspoken_code unspoken_profile_free(unspoken_profile *profile);

// The user's name. Valid while the handle is; null for a bad one.
const char *unspoken_profile_name(const unspoken_profile *profile);

// Gives the names of all users to `*out`.
//
// # Safety
// `out` is null or valid.
unspoken_code unspoken_engine_users(const unspoken_engine *engine, unspoken_texts **out);

// Forgets a user: profile, conversations, adapters, jobs.
//
// # Safety
// As `unspoken_profile_open`.
unspoken_code unspoken_engine_delete_user(const unspoken_engine *engine, const char *name);

// Gives the user's preferences, with their numbers, to `*out`.
//
// # Safety
// `out` is null or valid.
unspoken_code unspoken_profile_preferences(const unspoken_profile *profile, unspoken_texts **out);

// Keeps a preference that the user stated, a sentence in their voice, and gives its number to `*id` where that is
// not null.
//
// # Safety
// As `unspoken_profile_open`.
unspoken_code unspoken_profile_state(const unspoken_profile *profile,
                                     const char *text,
                                     int64_t *id);

// Corrects a preference; it is a stated one then.
//
// # Safety
// As `unspoken_profile_open`.
unspoken_code unspoken_profile_edit(const unspoken_profile *profile, int64_t id, const char *text);

// Throws a preference out; inference does not bring it back.
unspoken_code unspoken_profile_remove(const unspoken_profile *profile, int64_t id);

// Concludes preferences from a conversation (`unspoken_chat_conversation`), keeps what is new, and gives it to `*out`
// where that is not null. Takes seconds.
//
// # Safety
// `out` is null or valid.
unspoken_code unspoken_profile_learn(const unspoken_profile *profile,
                                     int64_t conversation,
                                     unspoken_texts **out);

// Stops what has begun on this handle and can be stopped, from any thread.
unspoken_code unspoken_profile_cancel(const unspoken_profile *profile);

// Keeps a rating from −1 to 1 of a reply (`unspoken_reply_message`).
unspoken_code unspoken_profile_rate(const unspoken_profile *profile, int64_t message, float rating);

// Keeps what a reply should have been.
//
// # Safety
// As `unspoken_profile_open`.
unspoken_code unspoken_profile_correct(const unspoken_profile *profile, int64_t message, const char *text);

// Keeps a record (JSON, a line of a DeepPref file) that is only measured on: an adaptation that makes it worse is
// taken back.
//
// # Safety
// As `unspoken_profile_open`.
unspoken_code unspoken_profile_hold_out(const unspoken_profile *profile,
                                        const char *record);

// The adapter's version in use, 0 for the base model; −1 for a failure.
int64_t unspoken_profile_version(const unspoken_profile *profile);

// Uses another version from the next reply on; 0 for the base model.
unspoken_code unspoken_profile_use_version(const unspoken_profile *profile, int64_t number);

// Goes back to the version before.
unspoken_code unspoken_profile_roll_back(const unspoken_profile *profile);

// Writes everything that is kept of the user into a folder, unencrypted, for them to take away.
//
// # Safety
// As `unspoken_profile_open`.
unspoken_code unspoken_profile_export(const unspoken_profile *profile, const char *folder);

// How many texts; 0 for a bad handle.
size_t unspoken_texts_count(const unspoken_texts *texts);

// A text, from 0 on; null for a bad handle or a number that is too high. Valid while `texts` is.
const char *unspoken_texts_get(const unspoken_texts *texts, size_t index);

// The number that a text has in the store; −1 for a bad handle or an index that is too high.
int64_t unspoken_texts_id(const unspoken_texts *texts, size_t index);

// Gives texts back. Null is nothing.
unspoken_code unspoken_texts_free(unspoken_texts *texts);

// What went wrong in this thread's last call that failed, for people. Valid until this thread's next failure;
// empty before the first.
const char *unspoken_last_error(void);

// The name of a code: "ContextFull"; "unknown" for other numbers. Never freed.
const char *unspoken_code_name(int32_t code);

// Says `text`; the reply is pulled from `*out`.
//
// # Safety
// As `unspoken_chat_send`.
unspoken_code unspoken_chat_stream(const unspoken_chat *chat,
                                   const char *text,
                                   const unspoken_reply_params *params,
                                   unspoken_stream **out);

// Waits for the next piece of text and gives it to `*piece`; null at the end. It is valid until the next call
// for this stream.
//
// # Safety
// `piece` is null or valid.
unspoken_code unspoken_stream_next(const unspoken_stream *stream, const char **piece);

// Waits for the whole reply and gives it to `*out`; pieces that were not pulled yet are dropped.
//
// # Safety
// `out` is null or valid.
unspoken_code unspoken_stream_reply(const unspoken_stream *stream, unspoken_reply **out);

// Stops it, from any thread: what was said so far is its reply.
unspoken_code unspoken_stream_cancel(const unspoken_stream *stream);

// Cancels a stream and gives it back. Null is nothing.
unspoken_code unspoken_stream_free(unspoken_stream *stream);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* UNSPOKEN_H */
