"""Every mistake in one go, at its place, with what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import InvalidJob, Job, Mistake, load_job

JOB = """\
name: answers
input: {path: data/problems.parquet}
prompt: {user: "{{ question }}"}
endpoint: {model: meta/llama-4-scout-17b-16e-instruct}
output: {path: data/out/answers.parquet}
"""


def load(tmp_path: Path, text: str) -> Job:
    path = tmp_path / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return load_job(path, environ={})


def mistakes(tmp_path: Path, text: str) -> list[Mistake]:
    with pytest.raises(InvalidJob) as refused:
        load(tmp_path, text)
    return list(refused.value.mistakes)


def only(tmp_path: Path, text: str) -> Mistake:
    found = mistakes(tmp_path, text)
    assert len(found) == 1, [(mistake.key, mistake.message) for mistake in found]
    return found[0]


def test_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    job = load(tmp_path, JOB)
    config = job.config
    assert (config.endpoint.kind, config.endpoint.api_key_env) == ("dataoorts", "DATAOORTS_API_KEY")
    assert config.endpoint.url == "https://cloud.dataoorts.com/api/v1"
    limits, retry = config.limits, config.retry
    assert (limits.concurrency, limits.timeout_seconds, limits.drain_seconds) == (32, 300, 60)
    assert (retry.max_attempts, retry.initial_seconds, retry.max_seconds) == (6, 1, 60)
    assert (retry.max_elapsed_seconds, retry.max_runs) == (900, 3)
    assert job.checkpoint_path == Path(".checkpoints/answers")


def test_the_documented_example_is_read(tmp_path: Path) -> None:
    text = """
name: gsm8k-answers
input:
  path: data/problems.parquet
  format: parquet
  id: problem_id
  columns: [problem_id, topic]
  csv: {delimiter: ",", encoding: utf-8}
prompt:
  system: "You are a careful tutor."
  user: "{{ question }}"
endpoint:
  kind: dataoorts
  url: simulator
  model: meta/llama-4-scout-17b-16e-instruct
  api_key_env: DATAOORTS_API_KEY
parameters: {temperature: 0.1, top_p: 0.9, top_k: 40, max_tokens: 1024}
limits:
  concurrency: 64
  requests_per_minute: 300
  tokens_per_minute: 200000
  max_cost_usd: 50.00
  max_run_cost_usd: 5.00
  deadline_seconds: 7200
  timeout_seconds: 300
  drain_seconds: 60
retry: {max_attempts: 6, initial_seconds: 1, max_seconds: 60, max_elapsed_seconds: 900, max_runs: 3}
checkpoint: {path: .checkpoints/gsm8k-answers}
output: {path: data/out/gsm8k-answers.parquet, compression: zstd, prefix: "", overwrite: false}
pricing: {input_usd_per_million: 0.32, output_usd_per_million: 0.34}
simulator: {latency_seconds: 0.2, latency_spread: 0.5, fault_rate: 0.05, seed: 7, requests_per_minute: 600,
            ledger: sim.jsonl}
"""
    assert load(tmp_path, text).config.simulator is not None


def test_all_mistakes_come_in_one_go_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
name: two words
input:
  pth: x.csv
  columns: topic
prompt:
  user: "{{ question }}"
  column: question
endpoint:
  model: meta/lama-4-scout-17b-16e-instruct
  allow_insecure_http: "true"
parameters: {max_tokens: 1.5, top_k: 0, max_token: 3}
limits:
  concurency: 64
  requests_per_minute: -1
  max_cost_usd: 1
retry: {initial_seconds: 0}
output:
  path: data/out
  compression: zip
colour: red
"""
    found = [(one.line, one.column, one.key) for one in mistakes(tmp_path, text)]
    assert found == [
        (1, 7, "name"),
        (3, 3, "input.pth"),
        (4, 12, "input.columns"),
        (7, 11, "prompt.column"),
        (9, 10, "endpoint.model"),
        (10, 24, "endpoint.allow_insecure_http"),
        (11, 26, "parameters.max_tokens"),
        (11, 38, "parameters.top_k"),
        (11, 41, "parameters.max_token"),
        (13, 3, "limits.concurency"),
        (14, 24, "limits.requests_per_minute"),
        (16, 26, "retry.initial_seconds"),
        (18, 9, "output.path"),
        (19, 16, "output.compression"),
        (20, 1, "colour"),
    ]


@pytest.mark.parametrize(
    ("line", "suggestion"),
    [
        ("limits: {concurency: 8}", "did you mean `concurrency`?"),
        ("limits: {Concurrency: 8}", "did you mean `concurrency`?"),
        ("limits: {requests-per-minute: 8}", "did you mean `requests_per_minute`?"),
        ("temperature: 0.5", "did you mean `parameters.temperature`?"),
        ("requests_per_minute: 5", "did you mean `limits.requests_per_minute` or `simulator.requests_per_minute`?"),
        ("limits.concurrency: 8", "write sections: `limits: {concurrency: …}`"),
        (
            "retry: {zzz: 8}",
            "`retry` takes `max_attempts`, `initial_seconds`, `max_seconds`, `max_elapsed_seconds` and `max_runs`",
        ),
        ("limits: {concurrency: 1_0}", "write 10: only digits, and a point before decimals"),
        (
            "limits: {requests_per_minute: 1,05}",
            "write 1.05 or 105, whichever is meant: only digits, and a point before decimals",
        ),
        ("limits: {concurrency: 64.0}", "write 64"),
        ('limits: {concurrency: "64"}', "take the quotes away"),
        ("limits: {concurrency: }", "give it a value, or leave the key out for the default, 32"),
        ("limits: {concurrency: 50000}", "the default is 32"),
        ("limits: {requests_per_minute: 0}", "use a number greater than 0"),
        ("limits: {max_cost_usd: -1}", "use a number greater than 0"),
        ("parameters: {temperature: 6}", "use a number from 0 to 5"),
        ("parameters: {max_tokens: 0}", "use an integer of at least 1"),
        ("pricing: {input_usd_per_million: -1, output_usd_per_million: 1}", "use a number of at least 0"),
        ('checkpoint: {path: ""}', "give it a value, or leave the key out"),
        (
            "limits: 5",
            "use a mapping with `concurrency`, `processes`, `requests_per_minute`, `tokens_per_minute`, `shared`,"
            " `max_cost_usd`, `max_run_cost_usd`, `deadline_seconds`, `timeout_seconds`, `idle_seconds`,"
            " `wait_for_quota_seconds` and `drain_seconds`",
        ),
        ("limits: {concurrency: many}", "the default is 32"),
        ("checkpoint: {path: 7}", "put it in quotes"),
        ("pricing: {input_usd_per_million: 1}", "add `output_usd_per_million: 0.34` below `pricing:`"),
        ("a number: 1", None),
    ],
)
def test_a_mistake_says_how_to_fix_it(tmp_path: Path, line: str, suggestion: str | None) -> None:
    found = only(tmp_path, JOB + line)
    assert found.line == 6
    assert found.source == line
    if suggestion is not None:
        assert found.suggestion == suggestion


@pytest.mark.parametrize(
    ("value", "suggestion"),
    [
        ("[]", "give it a value, such as `data/problems.parquet`"),
        ("", "give it a value, such as `data/problems.parquet`"),
        ('""', "give it a value, such as `data/problems.parquet`"),
        ('[""]', "give it a value, or take it out of the list"),
        ("[a.csv, null]", "give it a value, or take it out of the list"),
    ],
)
def test_what_is_needed_and_empty_is_asked_for(tmp_path: Path, value: str, suggestion: str) -> None:
    found = only(tmp_path, JOB.replace("path: data/problems.parquet", f"path: {value}"))
    assert (found.line, found.suggestion) == (2, suggestion)


@pytest.mark.parametrize("section", ["limits", "retry", "checkpoint", "parameters"])
def test_a_section_whose_lines_are_all_commented_out_is_empty(tmp_path: Path, section: str) -> None:
    assert load(tmp_path, JOB + f"{section}:\n  # nothing: 1\n").config == load(tmp_path, JOB).config


def test_a_section_that_is_needed_cannot_be_empty(tmp_path: Path) -> None:
    found = only(tmp_path, JOB.replace("output: {path: data/out/answers.parquet}", "output:"))
    assert (found.key, found.line) == ("output", 5)


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("limits.concurrency", "0"),
        ("limits.concurrency", "20001"),
        ("limits.requests_per_minute", "0"),
        ("limits.tokens_per_minute", "-1"),
        ("limits.deadline_seconds", "0.0"),
        ("limits.timeout_seconds", "0"),
        ("limits.drain_seconds", "0"),
        ("limits.max_cost_usd", "0"),
        ("limits.max_run_cost_usd", "-0.5"),
        ("retry.max_attempts", "0"),
        ("retry.initial_seconds", "0"),
        ("retry.max_seconds", "0"),
        ("retry.max_elapsed_seconds", "0"),
        ("retry.max_runs", "-1"),
        ("simulator.fault_rate", "1.1"),
        ("simulator.latency_seconds", "-1"),
        ("simulator.latency_spread", "-1"),
        ("simulator.requests_per_minute", "0"),
        ("retry.max_runs", "true"),
        ("limits.drain_seconds", "false"),
        ("checkpoint.path", '""'),
        ("checkpoint.path", '"\\0"'),
        ("parameters.temperature", "-0.1"),
        ("parameters.temperature", "5.1"),
        ("parameters.top_p", "2.1"),
        ("parameters.top_k", "0"),
        ("parameters.top_k", "51"),
        ("parameters.max_tokens", "0"),
        ("parameters.seed", "0"),
        ("parameters.seed", "10000000000"),
        ("parameters.presence_penalty", "2.5"),
        ("parameters.top_k", "1.0"),
        ("parameters.seed", "{col: x}"),
        ("parameters.seed", "{column: 1}"),
        ("parameters.seed", '{column: ""}'),
        ("parameters.temperature", "9" * 400),
    ],
)
def test_a_value_out_of_its_range_or_type_is_refused(tmp_path: Path, key: str, written: str) -> None:
    section, name = key.split(".")
    text = JOB.replace("{model", "{url: simulator, model") + f"{section}: {{{name}: {written}}}"
    keys = [one.key for one in mistakes(tmp_path, text) if "`parameters.max_tokens`" not in one.message]
    assert keys
    assert all(found is not None and found.startswith(key) for found in keys)


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("limits.concurrency", "1"),
        ("limits.concurrency", "2000"),
        ("limits.requests_per_minute", "0.5"),
        ("limits.drain_seconds", "1"),
        ("retry.max_runs", "0"),
        ("simulator.fault_rate", "1"),
        ("parameters.temperature", "5"),
        ("parameters.seed", "9999999999"),
        ("parameters.max_tokens", "1000000"),
        ("parameters.top_k", "{column: k}"),
        ("parameters.temperature", "{column: t}"),
        ("simulator.seed", "-3"),
    ],
)
def test_values_at_the_ends_of_their_range_are_taken(tmp_path: Path, key: str, written: str) -> None:
    section, name = key.split(".")
    load(tmp_path, JOB.replace("{model", "{url: simulator, model") + f"{section}: {{{name}: {written}}}")


def test_the_first_wait_may_be_longer_than_the_longest(tmp_path: Path) -> None:
    """The longest cuts it: a job that only shortens the waits need not name both."""
    assert load(tmp_path, JOB + "retry: {max_seconds: 0.5}").config.retry.initial_seconds == 1


@pytest.mark.parametrize(
    ("delimiter", "right"),
    [('","', True), ('"\\t"', True), ('"|"', True), ('""', False), ('",,"', False), ("'\"'", False), ('"\\n"', False)],
)
def test_a_delimiter_is_one_character_that_can_part_cells(tmp_path: Path, delimiter: str, right: bool) -> None:
    text = JOB.replace("parquet}\nprompt", f"parquet, csv: {{delimiter: {delimiter}}}}}\nprompt")
    if right:
        load(tmp_path, text)
    else:
        assert only(tmp_path, text).key == "input.csv.delimiter"


@pytest.mark.parametrize("encoding", ["utf-9", "hex", "undefined", "base64", '""', '"\\0"', '"a/../b"'])
def test_an_encoding_python_cannot_decode_with_is_refused(tmp_path: Path, encoding: str) -> None:
    text = JOB.replace("parquet}\nprompt", f"parquet, csv: {{encoding: {encoding}}}}}\nprompt")
    assert only(tmp_path, text).key == "input.csv.encoding"


@pytest.mark.parametrize(
    "path", ["s3:///x.csv", "s3://id:secret@bucket/x.csv", "https://example.com/x.csv", '""', "[]", '["a", ""]']
)
def test_inputs_that_cannot_be_read_here_are_refused(tmp_path: Path, path: str) -> None:
    found = only(tmp_path, JOB.replace("data/problems.parquet", path))
    assert found.key is not None
    assert found.key.startswith("input.path")
    if path.startswith("https"):
        assert found.message.startswith("https:// is no store that is known")


@pytest.mark.parametrize(
    ("key", "words"),
    [("checkpoint.path", "a checkpoint is on a disk of this machine"), ("simulator.ledger", "on this machine")],
)
@pytest.mark.parametrize("scheme", ["s3", "gs", "hdfs", "file", "x+y"])
def test_object_storage_is_refused_by_name_where_only_a_disk_will_do(
    tmp_path: Path, key: str, words: str, scheme: str
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(JOB.replace("{model", "{url: simulator, model"))
    with pytest.raises(InvalidJob) as refused:
        load_job(path, [f"{key}={scheme}://bucket/x"], environ={})
    (found,) = refused.value.mistakes
    assert (found.key, found.file) == (key, f"--set {key}=…")
    assert words in found.message
    assert f"{scheme}://" in found.message
    assert found.suggestion


@pytest.mark.parametrize("path", ['""', "data/out", "/", "./", "data/../", ".", "..", "data/."])
def test_an_output_that_names_no_file_is_refused(tmp_path: Path, path: str) -> None:
    assert only(tmp_path, JOB.replace("data/out/answers.parquet", path)).key == "output.path"


def test_an_output_over_the_input_is_refused(tmp_path: Path) -> None:
    assert only(tmp_path, JOB.replace("data/out/answers.parquet", "./data//problems.parquet")).key == "output.path"


def test_a_tilde_stays_a_tilde(tmp_path: Path) -> None:
    assert load(tmp_path, JOB + "checkpoint: {path: ~/x}").checkpoint_path == Path("~/x")


@pytest.mark.parametrize(
    ("prompt", "keys"),
    [
        ("{}", ["prompt"]),
        ("{system: s}", ["prompt"]),
        ("{user: null}", ["prompt"]),
        ('{user: ""}', ["prompt.user"]),
        ("{usr: x}", ["prompt.usr"]),
        ("{user: x, column: y}", ["prompt.column"]),
        ("{column: x, user: y, messages: z}", ["prompt.column", "prompt.messages"]),
        ("null", ["prompt"]),
        ("[x]", ["prompt"]),
    ],
)
def test_a_prompt_is_exactly_one_of_three(tmp_path: Path, prompt: str, keys: list[str]) -> None:
    found = mistakes(tmp_path, JOB.replace('{user: "{{ question }}"}', prompt))
    assert sorted(one.key or "" for one in found) == keys


def test_missing_keys_are_shown_with_what_to_add(tmp_path: Path) -> None:
    found = {one.key: one.suggestion for one in mistakes(tmp_path, "input: {id: a}\nendpoint: {}\n")}
    assert found == {
        "name": "add `name: my-answers`",
        "input.path": "add `path: data/problems.parquet` below `input:`",
        "prompt": 'add `prompt: {user: "{{ question }}"}`',
        "endpoint.model": "add `model: meta/llama-4-scout-17b-16e-instruct` below `endpoint:`",
        "output": "add `output: {path: data/out/answers.parquet}`",
    }


def test_a_misspelt_required_key_is_one_mistake(tmp_path: Path) -> None:
    assert only(tmp_path, JOB.replace("name:", "nam:")).key == "nam"


@pytest.mark.parametrize("name", ["two words", "a/b", "..", '""', "ä", "a" * 201, '"a\\n"'])
def test_a_name_that_cannot_name_a_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    found = only(tmp_path, JOB.replace("name: answers", f"name: {name}"))
    assert found.key == "name"
    assert found.suggestion


@pytest.mark.parametrize(("name", "suggestion"), [("two words", "two-words"), ("ä", "my-answers"), ("a/b", "a-b")])
def test_a_name_that_cannot_be_has_one_beside_it_that_can(tmp_path: Path, name: str, suggestion: str) -> None:
    assert only(tmp_path, JOB.replace("name: answers", f"name: {name}")).suggestion == f"write `{suggestion}`"


@pytest.mark.parametrize(("written", "suggestion"), [("gz", "gzip"), ("zstandard", "zstd"), ("Snappy", "snappy")])
def test_a_compression_that_is_none_has_a_near_one_beside_it(tmp_path: Path, written: str, suggestion: str) -> None:
    text = JOB.replace("output: {", f"output: {{compression: {written}, ")
    assert only(tmp_path, text).suggestion == f"did you mean `{suggestion}`?"


@pytest.mark.parametrize("cap", ["max_cost_usd", "max_run_cost_usd"])
def test_a_cap_on_cost_needs_max_tokens_and_a_price(tmp_path: Path, cap: str) -> None:
    limits = f"limits: {{{cap}: 1}}\n"
    assert "max_tokens" in only(tmp_path, JOB + limits).message
    load(tmp_path, JOB + limits + "parameters: {max_tokens: 1}")
    load(tmp_path, JOB + limits + "parameters: {max_tokens: {column: most}}")
    server = JOB.replace(
        "{model: meta/llama-4-scout-17b-16e-instruct}", "{kind: openai, url: 'http://localhost/v1', model: x}"
    )
    assert "price" in only(tmp_path, server + limits + "parameters: {max_tokens: 1}").message
    pricing = "pricing: {input_usd_per_million: 0, output_usd_per_million: 1}\n"
    load(tmp_path, server + limits + "parameters: {max_tokens: 1}\n" + pricing)


def test_no_mistake_follows_from_another(tmp_path: Path) -> None:
    text = JOB + "limits: {max_cost_usd: 1}\nparameters: {max_tokens: ${MOST}}".replace("${MOST}", '"${MOST}"')
    assert [one.key for one in mistakes(tmp_path, text)] == ["parameters.max_tokens"]
    assert [one.key for one in mistakes(tmp_path, JOB + "simulator: {seed: 1}").copy()] == ["simulator"]
    text = JOB.replace("{model", '{url: "${WHERE}", model') + "simulator: {seed: 1}"
    assert [one.key for one in mistakes(tmp_path, text)] == ["endpoint.url"]


def test_an_unknown_model_names_the_near_ones_unless_priced(tmp_path: Path) -> None:
    text = JOB.replace("meta/llama-4-scout-17b-16e-instruct", "llama-3.1-8b-instruct")
    found = only(tmp_path, text)
    assert found.key == "endpoint.model"
    assert found.suggestion is not None
    assert "`meta/llama-3.1-8b-instruct`" in found.suggestion
    pricing = "pricing: {input_usd_per_million: 1, output_usd_per_million: 1}\n"
    load(tmp_path, text + pricing)
    assert only(tmp_path, text + pricing + "parameters: {top_k: 51}").key == "parameters.top_k"


def test_parameters_are_held_to_what_the_model_takes(tmp_path: Path) -> None:
    guard = JOB.replace("meta/llama-4-scout-17b-16e-instruct", "meta/llama-guard-3-8b")
    found = only(tmp_path, guard + "parameters: {top_k: {column: k}, temperature: 5}")
    assert (found.key, found.message) == ("parameters.top_k", "meta/llama-guard-3-8b takes no `top_k`")
    server = JOB.replace("{model: meta", "{kind: openai, url: 'http://localhost/v1', model: meta")
    load(tmp_path, server + "parameters: {seed: -1, top_k: 100, presence_penalty: -3, top_p: 1.5, temperature: 9}")


def test_places_lead_to_the_key_or_the_nearest_section(tmp_path: Path) -> None:
    job = load(tmp_path, JOB.replace("input: {", "input:\n  {id: a, columns: [a, b], "))
    assert job.place("input.id") == (3, 8, "  {id: a, columns: [a, b], path: data/problems.parquet}")
    assert job.place("input.columns[1]") == (3, 24, "  {id: a, columns: [a, b], path: data/problems.parquet}")
    assert job.place("input.csv.delimiter") == (2, 1, "input:")
    assert job.place("prompt.user") == (4, 16, 'prompt: {user: "{{ question }}"}')
    assert job.place("pricing.input_usd_per_million") is None


def test_a_later_mistake_is_placed_in_the_file_or_the_flag(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    job = load_job(path, ["input.id=problem"], environ={})
    placed = job.placed(Mistake("no such column", key="input.id"))
    assert (placed.file, placed.source) == ("--set input.id=…", "input.id=problem")
    assert job.place("input.id") is None
    placed = job.placed(Mistake("no such column", key="prompt.user"))
    assert (placed.file, placed.line, placed.column) == (str(path), 3, 16)
    assert job.placed(Mistake("of the whole")).file == str(path)


@pytest.mark.parametrize(("max_tokens", "rate"), [("1001", "1000"), ("1000", "999.5"), ("1", "0.5")])
def test_a_request_that_could_never_fit_the_token_rate_is_refused(tmp_path: Path, max_tokens: str, rate: str) -> None:
    text = f"{JOB}parameters: {{max_tokens: {max_tokens}}}\nlimits:\n  tokens_per_minute: {rate}\n"
    found = only(tmp_path, text)
    assert (found.key, found.line, found.column) == ("parameters.max_tokens", 6, 26)
    assert "limits.tokens_per_minute" in found.message
    assert found.suggestion is not None
    assert f"raise `limits.tokens_per_minute` to at least {int(max_tokens):,}" in found.suggestion


@pytest.mark.parametrize(
    "more",
    [
        "parameters: {max_tokens: 1000}\nlimits: {tokens_per_minute: 1000}\n",
        "parameters: {max_tokens: {column: budget}}\nlimits: {tokens_per_minute: 1}\n",
        "limits: {tokens_per_minute: 1}\n",
    ],
)
def test_what_may_fit_the_token_rate_is_not_refused(tmp_path: Path, more: str) -> None:
    assert load(tmp_path, JOB + more).config.limits.tokens_per_minute is not None


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ("shared: account", "there is no rate that the jobs could share (set `limits.requests_per_minute`"),
        ("shared: my account, requests_per_minute: 5", "write `my-account`"),
        ("shared: ../up, tokens_per_minute: 5", "write `up`"),
        ("shared: 5, tokens_per_minute: 5", "not text"),
    ],
)
def test_a_shared_limit_that_cannot_be_is_refused(tmp_path: Path, limits: str, words: str) -> None:
    found = only(tmp_path, f"{JOB}limits: {{{limits}}}\n")
    assert (found.key, found.line) == ("limits.shared", 6)
    assert words in str(found)


def test_a_shared_limit_that_lacks_a_rate_is_not_said_where_the_rate_is_wrong(tmp_path: Path) -> None:
    assert only(tmp_path, f"{JOB}limits: {{shared: account, requests_per_minute: x}}\n").key != "limits.shared"


@pytest.mark.parametrize(
    ("pricing", "key", "message", "suggestion"),
    [
        ("{}", "pricing.input_usd_per_million", "required", "add `input_usd_per_million: 0.32` below"),
        ("{provider: groq}", "pricing.provider", "no list is named", "add `from: genai-prices`"),
        ("{from: genai-prices}", "pricing.provider", "required", "add `provider: groq`"),
        ("{from: genai-price, provider: groq}", "pricing.from", "", "genai-prices"),
        ("{from: genai-prices, provider: grok}", "pricing.provider", "no provider 'grok'", "did you mean `groq`?"),
        ("{from: genai-prices, provider: groq}", "pricing.provider", "no 'some/model'", "models --prices"),
        (
            "{from: genai-prices, provider: groq, output_usd_per_million: 1}",
            "pricing.output_usd_per_million",
            "`from: genai-prices` is set already",
            "keep one",
        ),
    ],
)
def test_prices_are_one_s_own_or_those_of_a_list(
    tmp_path: Path, pricing: str, key: str, message: str, suggestion: str
) -> None:
    text = JOB.replace("endpoint: {model: meta/llama-4-scout-17b-16e-instruct}", "endpoint: {model: some/model}")
    mistake = mistakes(tmp_path, f"{text}pricing: {pricing}\n")[0]
    assert mistake.key == key
    assert message in mistake.message
    assert suggestion in (mistake.suggestion or "")


def test_a_pattern_that_is_none_says_why(tmp_path: Path) -> None:
    found = only(tmp_path, JOB + 'expect: {regex: "a("}\n')
    assert (found.key, found.line) == ("expect.regex", 6)
    assert "unterminated subpattern at position 1" in found.message


def test_a_list_whose_only_item_is_wrong_is_not_called_empty(tmp_path: Path) -> None:
    found = only(tmp_path, JOB.replace("path: data/problems.parquet", "path: [ftp://host/in.csv]"))
    assert found.key == "input.path[0]"
    assert "ftp://" in found.message
    assert only(tmp_path, JOB.replace("path: data/problems.parquet", "path: []")).message == "this list is empty"


@pytest.mark.parametrize("written", ["1.0", "1e0"])
def test_a_whole_number_that_is_written_with_a_point_has_no_fraction(tmp_path: Path, written: str) -> None:
    found = only(tmp_path, JOB + f"parameters: {{seed: {written}}}\n")
    assert found.message.startswith("1.0 is a number written with `.` or `e`, not an integer")
    assert found.suggestion == "write 1"
    assert "1.5 is a number with a fraction" in only(tmp_path, JOB + "parameters: {seed: 1.5}\n").message
