// The header in C++, with handles that free themselves.
#include <memory>
#include <string>

#include "check.h"

template <typename T, unspoken_code (*Free)(T *)>
struct Freed {
  void operator()(T *handle) const { Free(handle); }
};

using Engine = std::unique_ptr<unspoken_engine, Freed<unspoken_engine, unspoken_engine_free>>;
using Chat = std::unique_ptr<unspoken_chat, Freed<unspoken_chat, unspoken_chat_free>>;
using Stream = std::unique_ptr<unspoken_stream, Freed<unspoken_stream, unspoken_stream_free>>;
using Reply = std::unique_ptr<unspoken_reply, Freed<unspoken_reply, unspoken_reply_free>>;

int main(int argc, char **argv) {
  CHECK(argc == 2);
  Engine engine(load(argv[1], 1));
  unspoken_chat *made = nullptr;
  OK(unspoken_chat_create(engine.get(), nullptr, &made));
  Chat chat(made);
  auto params = greedy(8);
  unspoken_stream *begun = nullptr;
  OK(unspoken_chat_stream(chat.get(), "Hello", &params, &begun));
  Stream stream(begun);
  std::string text;
  for (const char *piece = nullptr;;) {
    OK(unspoken_stream_next(stream.get(), &piece));
    if (piece == nullptr) break;
    text += piece;
  }
  unspoken_reply *said = nullptr;
  OK(unspoken_stream_reply(stream.get(), &said));
  Reply reply(said);
  size_t len = 0;
  CHECK(std::string(unspoken_reply_text(reply.get(), &len)).size() <= len);
  std::puts("ok");
  return 0;
}
