# SPDX-License-Identifier: MIT OR Apache-2.0
"""tokens.json: llama.cpp's token ids of a list of awkward strings, for both models.

Judge: llama.cpp (through llama-cpp-python). The strings are stored once; each model has, per
string and in the same order, ids with parse_special true and false. add_special is false.
(The file is not called tokenize.py, which would hide Python's own module of that name.)
"""

from common import MODELS, write_json
from peer import Peer, peer_version

STRINGS = [
    "",
    " ",
    "  ",
    "   leading and trailing   ",
    "\t",
    "\n",
    "\n\n\n",
    "\r\n",
    "line one\r\nline two\r\n\r\nline four",
    "a\tb\t\tc\n\t\td",
    " \n \n  \n\t \n",
    "                                                                    x",
    "Hello, world!",
    "Hello world",
    " Hello world",
    "hello  world   again    and     again",
    "The quick brown fox jumps over the lazy dog.",
    "I'm you're he'll they've we'd it's don't DON'T I'M Y'ALL o'clock",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "CamelCaseIdentifier snake_case_identifier SCREAMING_SNAKE kebab-case-word",
    "0 1 12 123 1234 12345 1234567890 3.14159 1,000,000 0x1F 1e-9 007",
    "11111111111111111111111111111111",
    "2024-02-29T23:59:59Z +49 (0)30 123456",
    "\u00bd \u00b2 \u2167 \u0664\u0665\u0666 \u0967\u0968\u0969 \u2460",
    "Stra\u00dfe, na\u00efve caf\u00e9, \u0141\u00f3d\u017a, \u00c5ngstr\u00f6m, \u0130stanbul, \u1e9e",
    "e\u0301 vs \u00e9, n\u0303, a\u0308\u0304, Z\u0351\u036b\u0343a\u0321l\u0334g\u0322o\u0358",
    "\u03a0\u03ac\u03bd\u03c4\u03b1 \u1fe5\u03b5\u1fd6, \u03c4\u1f70 \u03c0\u03ac\u03bd\u03c4\u03b1 \u1fe5\u03b5\u1fd6",
    "\u0421\u044a\u0435\u0448\u044c \u0435\u0449\u0451 \u044d\u0442\u0438\u0445 \u043c\u044f\u0433\u043a\u0438\u0445 \u0431\u0443\u043b\u043e\u043a",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645\u060c \u0643\u064e\u064a\u0652\u0641\u064e \u0627\u0644\u062d\u064e\u0627\u0644\u061f",
    "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd \u05e2\u05d5\u05dc\u05dd 123",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e, \u0915\u094d\u0937\u0924\u094d\u0930\u093f\u092f",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01\u5929\u5730\u7384\u9ec4\uff0c\u5b87\u5b99\u6d2a\u8352\u3002",
    "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c\u3001\u30ab\u30bf\u30ab\u30ca\u3068\u6f22\u5b57\u30fc\uff76\uff85",
    "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4, \u1112\u1161\u11ab\u1100\u1173\u11af",
    "\u0545\u0561\u0575 \u10e5\u10d0\u10e0\u10d7\u10e3\u10da\u10d8 \u1200\u120e \u0f56\u0f7c\u0f51 \u13e3\u13b3\u13a9",
    "\U00020bb7\u91ce\u5bb6 \U00010348\U00010330 \U0001d4d7\U0001d4ee\U0001d4f5\U0001d4f5\U0001d4f8",
    "\U0001f600\U0001f602\U0001f97a \U0001f680\U0001f680\U0001f680",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308 \U0001f44d\U0001f3fd\u2764\ufe0f",
    "\U0001f1e9\U0001f1ea\U0001f1ef\U0001f1f5\U0001f1fa\U0001f1f8 1\ufe0f\u20e3",
    "zero\u200bwidth\u200cjoin\u200der \u2060 \ufeffbom \u00ad \u202eltr\u202c",
    "nbsp\u00a0here \u2003em \u3000ideographic \u2028line \u2029para \u0085nel",
    "\x01\x02\x03\x07\x08\x0b\x0c\x1b[31mred\x1b[0m\x7f",
    "nul\x00byte\x00",
    "\ufffd\uffff\U0010ffff\ue000",
    "\u201cquotes\u201d \u2018single\u2019 \u2014 \u2013 \u2026 \u00ab\u00bb \u20ac\u00a3\u00a5\u20bf \u2190\u2192 \u2200x\u2208\u211d",
    "!@#$%^&*()_+-=[]{}|;':\",./<>?`~\\",
    "... --- ___ *** ### !!! ??? ,,, ;;;",
    "a" * 200,
    "ab" * 60 + " " + "=" * 90 + " " + "\u00e9" * 40,
    "def f(x: int) -> str:\n    \"\"\"Doc.\"\"\"\n    if x % 2 == 0:\n        return f\"{x!r:>10}\"\n    return 'odd'\n",
    "fn main() {\n    let v: Vec<u32> = (0..10).map(|x| x * 2).collect();\n    println!(\"{v:?}\");\n}\n",
    "{\"name\": \"x\", \"list\": [1, 2.5, -3e10, null, true], \"nested\": {\"k\\n\": \"\\u00e9\"}}",
    "for(int i=0;i<n;++i){a[i]^=b[i]<<3;}//done",
    "<div class=\"a\"><p>text &amp; more</p></div>",
    "https://example.org/path/to?query=1&x=%20#frag user@example.com C:\\dir\\file.txt",
    "| a | b |\n|---|:-:|\n| 1 | 2 |\n\n* item\n  * sub\n\n```sh\n$ ls -la\n```",
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|>",
    "text<|endoftext|> text <|im_end|>text",
    "<|im_start|> <|im_start <|im_end|>|> <|IM_START|>",
    "<start_of_turn>user\nHello<end_of_turn>\n<start_of_turn>model\n",
    "<bos>Hello<eos>",
    " <bos> <unk><pad> <mask> <unused0> <unused99>",
    "<s>x</s> [INST] <repo_name>a<file_sep> <reponame> <issue_start><jupyter_code>",
    "<0x0A> <0xE2> \u2581under \u2581\u2581score \u0120gpt2 \u010aspace",
    "<h1>head</h1><table><tr><td>",
    "mixed \u65e5\u672c\u8a9e and English \u0438 \u0440\u0443\u0441\u0441\u043a\u0438\u0439\U0001f600 123\u5e74 caf\u00e9\n\tend ",
]


def main():
    out = {
        "about": "llama.cpp token ids; add_special=false; parsed: parse_special=true, "
        "plain: parse_special=false; one list per string, in order",
        "llama.cpp": peer_version(),
        "strings": STRINGS,
        "models": {},
    }
    for key in MODELS:
        peer = Peer(key, vocab_only=True)
        out["models"][key] = {
            "file": MODELS[key],
            "parsed": [peer.tokenize(s, special=True) for s in STRINGS],
            "plain": [peer.tokenize(s, special=False) for s in STRINGS],
        }
    write_json("tokens.json", out)


if __name__ == "__main__":
    main()
