"""A real server of another maker, llama.cpp, on a tiny random Llama: OpenAI's and Anthropic's protocol, no hub.

The model says words by chance, the same at each start, and ends its answer after some of them.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

MODEL, KEY = "tiny-random-llama", "sk-llama-cpp"
WORDS = [
    "tower",
    "bridge",
    "lighthouse",
    "château",
    "windmill",
    "castle",
    "Größe",
    "pagoda",
    "obelisk",
    "dam",
    "塔",
    "🏰",
]
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
WIDTH, HEADS, HIDDEN, BLOCKS, CONTEXT, SLOTS = 64, 4, 128, 2, 512, 4
END, FIRST_WORD = SPECIAL.index("</s>"), len(SPECIAL) + len(BYTES)


def write_model(path: Path, seed: int = 7) -> Path:
    """Write the model: any text goes in as bytes, only words and the end come out."""
    from gguf import GGMLQuantizationType, GGUFWriter, TokenType

    tokens = [*SPECIAL, *BYTES, *("▁" + word for word in WORDS)]
    special_types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    writer = GGUFWriter(path, "llama")
    writer.add_name(MODEL)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([*special_types, *[TokenType.BYTE] * len(BYTES), *[TokenType.NORMAL] * len(WORDS)])
    writer.add_unk_token_id(SPECIAL.index("<unk>"))
    writer.add_bos_token_id(SPECIAL.index("<s>"))
    writer.add_eos_token_id(END)
    writer.add_chat_template(TEMPLATE)
    for name, weights in _weights(len(tokens), np.random.default_rng(seed)).items():
        writer.add_tensor(name, weights.astype(np.float32), raw_dtype=GGMLQuantizationType.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _weights(vocabulary: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Random, but the first of the WIDTH numbers is the same for every token: there `output` can forbid tokens."""
    weights = {"token_embd.weight": random.normal(0, 1, (vocabulary, WIDTH)), "output_norm.weight": np.ones(WIDTH)}
    weights["token_embd.weight"][:, 0] = 4.0
    for block in range(BLOCKS):
        shapes = {
            **{f"attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")},
            "ffn_gate": (HIDDEN, WIDTH),
            "ffn_up": (HIDDEN, WIDTH),
            "ffn_down": (WIDTH, HIDDEN),
        }
        for name, shape in shapes.items():
            weights[f"blk.{block}.{name}.weight"] = random.normal(0, 2 / shape[1] ** 0.5, shape)
        for name in ("attn_output", "ffn_down"):
            weights[f"blk.{block}.{name}.weight"][0] = 0.0
        for name in ("attn_norm", "ffn_norm"):
            weights[f"blk.{block}.{name}.weight"] = np.ones(WIDTH)
    output = np.zeros((vocabulary, WIDTH))
    said = [END, *range(FIRST_WORD, vocabulary)]
    output[said] = random.normal(0, 0.5, (len(said), WIDTH))
    output[:, 0] = -100.0
    output[said, 0] = 0.0
    weights["output.weight"] = output
    return weights


@contextmanager
def llama_cpp(folder: Path) -> Iterator[str]:
    """The address of a running server, without a path; it writes server.log into the folder."""
    model = write_model(folder / f"{MODEL}.gguf")
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.llama_cpp", str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=Path(__file__).parent.parent,
            text=True,
        )
        with process:
            try:
                url = process.stdout.readline().strip()
                assert url, (folder / "server.log").read_text()
                yield url
            finally:
                process.kill()


def serve(model: str) -> None:
    """Serve on a free port until the parent dies; the address goes to standard output once the model is loaded."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {MODEL}
    params.api_keys = [KEY]
    params.port = 0
    params.n_ctx = CONTEXT * SLOTS
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
