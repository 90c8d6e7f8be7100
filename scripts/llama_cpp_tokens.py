"""llama.cpp's tokens of texts; run by a Python that has llama-cpp-python.

Takes a GGUF file. Each line of the input is a JSON array of a text and of whether
control tokens in it are read as such; each line of the output is the array of its ids.
"""

from __future__ import annotations

import ctypes
import json
import sys

import llama_cpp

SILENT = llama_cpp.llama_log_callback(lambda *_: None)


def main() -> None:
    """Answer every line."""
    llama_cpp.llama_log_set(SILENT, ctypes.c_void_p(0))
    model = llama_cpp.Llama(sys.argv[1], vocab_only=True, verbose=False)
    vocabulary = llama_cpp.llama_model_get_vocab(model.model)
    for line in sys.stdin:
        text, special = json.loads(line)
        data = text.encode()
        room = (llama_cpp.llama_token * (len(data) + 8))()
        count = llama_cpp.llama_tokenize(
            vocabulary, data, len(data), room, len(room), False, special
        )
        print(json.dumps(room[:count]), flush=True)


main()
