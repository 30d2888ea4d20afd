"""Texts of the SDKs, their plugins, and the libraries under them, and what they are about.

The texts are those of livekit-agents 1.8.9 and @livekit/agents 1.9.0, with their plugins.
"""

import pytest

from agent_tui.model.failures import (
    Cause,
    FailureKind,
    failure_in_code,
    failure_of,
    missing_packages,
    missing_variables,
)

OPENAI = (
    "OpenAIError: Missing credentials. Please pass an `api_key`, `workload_identity`, `admin_api_key`, or set the "
    "`OPENAI_API_KEY` or `OPENAI_ADMIN_KEY` environment variable."
)
GOOGLE = (
    "ValueError: Application default credentials must be available when using Google STT without explicitly "
    "passing credentials through credentials_info or credentials_file."
)
AZURE = (
    "ValueError: AZURE_SPEECH_HOST or AZURE_SPEECH_KEY and AZURE_SPEECH_REGION or speech_auth_token and "
    "AZURE_SPEECH_REGION or AZURE_SPEECH_KEY and speech_endpoint must be set"
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (OPENAI, "OPENAI_API_KEY"),
        (
            "ValueError: The api_key client option must be set either by passing api_key to the client or by "
            "setting the OPENAI_API_KEY environment variable",
            "OPENAI_API_KEY",
        ),
        (
            "Error: OpenAI API key is required, whether as an argument or as $OPENAI_API_KEY",
            "OPENAI_API_KEY",
        ),
        (
            "ValueError: Deepgram API key is required, either as argument or set DEEPGRAM_API_KEY environment variable",
            "DEEPGRAM_API_KEY",
        ),
        ("ValueError: Deepgram API key is required", "DEEPGRAM_API_KEY"),
        (
            "ValueError: Deepgram API key required. Set DEEPGRAM_API_KEY or provide api_key.",
            "DEEPGRAM_API_KEY",
        ),
        (
            "ValueError: Cartesia API key is required, either as argument or set CARTESIA_API_KEY environment variable",
            "CARTESIA_API_KEY",
        ),
        (
            "Error: Cartesia API key is required, whether as an argument or as $CARTESIA_API_KEY",
            "CARTESIA_API_KEY",
        ),
        (
            "Error: ElevenLabs API key is required, either as argument or set ELEVEN_API_KEY environmental variable",
            "ELEVEN_API_KEY",
        ),
        (
            "ValueError: API key is required for Google API either via api_key or GOOGLE_API_KEY environment variable",
            "GOOGLE_API_KEY",
        ),
        (
            "APIConnectionError: API key is required for Google API either via apiKey or GOOGLE_API_KEY environment "
            "variable",
            "GOOGLE_API_KEY",
        ),
        (GOOGLE, "GOOGLE_APPLICATION_CREDENTIALS"),
        (
            "ValueError: AssemblyAI API key is required. Pass one in via the `api_key` parameter, or set it as the "
            "`ASSEMBLYAI_API_KEY` environment variable",
            "ASSEMBLYAI_API_KEY",
        ),
        (
            "ValueError: OctoAI API key is required, either as argument or set OCTOAI_TOKEN environmental variable",
            "OCTOAI_TOKEN",
        ),
        (AZURE, "AZURE_SPEECH_KEY"),
        ("KeyError: 'OPENAI_API_KEY'", "OPENAI_API_KEY"),
    ],
)
def test_a_missing_key_has_the_variable_that_the_plugin_reads(text: str, name: str) -> None:
    assert missing_variables(text) == (name,)


@pytest.mark.parametrize(
    "text",
    [
        "ValueError: api_key is required, either as argument or set LIVEKIT_API_KEY environmental variable",
        "Error: apiKey is required: pass apiKey or set LIVEKIT_API_KEY",
    ],
)
def test_livekit_inference_has_variables_of_its_own(text: str) -> None:
    assert missing_variables(text) == ("LIVEKIT_INFERENCE_API_KEY", "LIVEKIT_INFERENCE_API_SECRET")


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'room'",
        "ValueError: a model is required",
        "RuntimeError: OPENAI_API_KEY has been rotated",
        "TypeError: Agent.__init__() missing 1 required positional argument: 'instructions'",
    ],
)
def test_other_errors_are_about_no_key(text: str) -> None:
    assert missing_variables(text) == ()


@pytest.mark.parametrize(
    ("text", "code", "packages"),
    [
        (
            "ModuleNotFoundError: No module named 'livekit.plugins.turn_detector'",
            "",
            ("livekit-plugins-turn-detector",),
        ),
        (
            "ImportError: cannot import name 'deepgram' from 'livekit.plugins' (unknown location)",
            "",
            ("livekit-plugins-deepgram",),
        ),
        (
            "ModuleNotFoundError: No module named 'livekit.plugins'",
            "from livekit.plugins import cartesia, deepgram as dg\nModuleNotFoundError: No module named 'livekit.plugins'",
            ("livekit-plugins-cartesia", "livekit-plugins-deepgram"),
        ),
        (
            "ModuleNotFoundError: No module named 'livekit.plugins'",
            "from livekit.plugins import (  # all\n    openai,\n    silero as vad,  # voice, activity\n)\nx = (1, 2)",
            ("livekit-plugins-openai", "livekit-plugins-silero"),
        ),
        ("ModuleNotFoundError: No module named 'livekit.plugins'", "", ()),
        ("ModuleNotFoundError: No module named 'dotenv'", "", ("python-dotenv",)),
        ("ModuleNotFoundError: No module named 'google.genai'", "", ("google-genai",)),
        ("ModuleNotFoundError: No module named 'rooms'", "", ()),
        (
            "Error: Cannot find package '@livekit/agents-plugin-deepgram' imported from /x/agent.mjs",
            "",
            ("@livekit/agents-plugin-deepgram",),
        ),
        (
            "Error: Cannot find module '@livekit/agents-plugin-deepgram/stt'\nRequire stack:\n- /x/agent.cjs",
            "",
            ("@livekit/agents-plugin-deepgram",),
        ),
        ("Error: Cannot find module './part.mjs' imported from /x/agent.mjs", "", ()),
        ("Error: Cannot find module '/x/part.mjs' imported from /x/agent.mjs", "", ()),
        ("ImportError: cannot import name 'x' from 'part' (/x/part.py)", "", ()),
    ],
)
def test_a_missing_package_has_the_name_to_install(text: str, code: str, packages: tuple[str, ...]) -> None:
    assert missing_packages(text, code) == packages


@pytest.mark.parametrize(
    ("file", "needs"),
    [
        ("/v/site-packages/livekit/plugins/openai/llm.py", "openai LLM needs it"),
        ("/x/node_modules/@livekit/agents-plugin-openai/dist/tts.js", "openai TTS needs it"),
        ("/v/site-packages/livekit/plugins/google/beta/gemini_tts.py", "plugin google needs it"),
    ],
)
def test_a_missing_key_names_the_part_of_the_plugin_that_needs_it(file: str, needs: str) -> None:
    trace = f'  File "/x/agent.py", line 3, in entry\n  File "{file}", line 30, in __init__\n'
    assert failure_in_code(OPENAI, trace).text == f"OPENAI_API_KEY is not set: {needs}"
    assert failure_in_code(OPENAI).text == "OPENAI_API_KEY is not set"
    assert failure_in_code("ValueError: other").kind is FailureKind.OTHER


GAI = "[Errno -2] Name or service not known"
AIOHTTP = "Cannot connect to host api.cartesia.ai:443 ssl:default [Name or service not known]"


@pytest.mark.parametrize(
    ("causes", "provider", "kind", "text"),
    [
        (  # Python, openai
            [
                Cause("APIConnectionError", "Connection error."),
                Cause("APIConnectionError", "Connection error.", "api.openai.com"),
                Cause("ConnectError", GAI, "api.openai.com"),
                Cause("gaierror", GAI),
            ],
            "openai",
            FailureKind.UNRESOLVED,
            "could not resolve api.openai.com",
        ),
        (
            [
                Cause("APIConnectionError", "Connection error.", "127.0.0.1"),
                Cause("OSError", "All connection attempts failed"),
                Cause("ConnectionRefusedError", "[Errno 111] Connect call failed ('127.0.0.1', 9)"),
            ],
            "openai",
            FailureKind.UNREACHABLE,
            "could not connect to 127.0.0.1",
        ),
        (
            [
                Cause("APIStatusError", "Error code: 401 - Incorrect API key provided: x.", "", 401),
                Cause("StopAsyncIteration", ""),
            ],
            "openai",
            FailureKind.KEY_REFUSED,
            "openai refused the key: 401",
        ),
        (
            [
                Cause(
                    "RateLimitError",
                    "Error code: 429 - You exceeded your current quota",
                    "api.openai.com",
                    429,
                )
            ],
            "openai",
            FailureKind.QUOTA,
            "api.openai.com refused the request, too many or quota used up: 429",
        ),
        (
            [Cause("APIStatusError", "Error code: 404 - The model `m` does not exist", "", 404)],
            "openai",
            FailureKind.OTHER,
            "Error code: 404 - The model `m` does not exist (APIStatusError)",
        ),
        (  # Python, cartesia and elevenlabs
            [
                Cause("APIConnectionError", "Connection error."),
                Cause("ClientConnectorDNSError", AIOHTTP, "api.cartesia.ai"),
                Cause("gaierror", GAI),
            ],
            "cartesia",
            FailureKind.UNRESOLVED,
            "could not resolve api.cartesia.ai",
        ),
        (
            [
                Cause("APIStatusError", "Unauthorized", "", 401),
                Cause("ClientResponseError", "Unauthorized", "api.elevenlabs.io", 401),
            ],
            "elevenlabs",
            FailureKind.KEY_REFUSED,
            "api.elevenlabs.io refused the key: 401",
        ),
        (  # Python, deepgram
            [Cause("APIConnectionError", "failed to connect to deepgram (ClientConnectorDNSError)")],
            "deepgram",
            FailureKind.UNRESOLVED,
            "could not resolve deepgram",
        ),
        (
            [Cause("APIConnectionError", "failed to connect to deepgram (ClientConnectorError)")],
            "deepgram",
            FailureKind.UNREACHABLE,
            "could not connect to deepgram",
        ),
        (  # Python, google
            [
                Cause(
                    "APIStatusError",
                    "gemini llm: client error: 400 INVALID_ARGUMENT. {'error': {'code': 400, 'message': 'API key not "
                    "valid. Please pass a valid API key.'}}",
                    "",
                    400,
                )
            ],
            "google",
            FailureKind.KEY_REFUSED,
            "google refused the key",
        ),
        (  # JavaScript
            [Cause("APIStatusError", "Connection error.")],
            "openai",
            FailureKind.UNREACHABLE,
            "could not connect to openai",
        ),
        (
            [Cause("APIStatusError", "401 Incorrect API key provided: x.", "", 401)],
            "openai",
            FailureKind.KEY_REFUSED,
            "openai refused the key: 401",
        ),
        (
            [
                Cause("Error", "Connection error."),
                Cause("TypeError", "fetch failed"),
                Cause("Error", "getaddrinfo ENOTFOUND api.openai.com", "api.openai.com"),
            ],
            "openai",
            FailureKind.UNRESOLVED,
            "could not resolve api.openai.com",
        ),
        (
            [
                Cause(
                    "APIConnectionError", "Cartesia connection failed: getaddrinfo ENOTFOUND api.cartesia.ai"
                )
            ],
            "cartesia",
            FailureKind.UNRESOLVED,
            "could not resolve api.cartesia.ai",
        ),
        (
            [Cause("APIConnectionError", "Connection error: TypeError: fetch failed")],
            "elevenlabs",
            FailureKind.UNREACHABLE,
            "could not connect to elevenlabs",
        ),
        (
            [Cause("APIConnectionError", "failed to connect to Deepgram (Error)")],
            "deepgram",
            FailureKind.UNREACHABLE,
            "could not connect to deepgram",
        ),
        (
            [Cause("APIConnectionError", "Error")],
            "cartesia",
            FailureKind.UNREACHABLE,
            "could not connect to cartesia",
        ),
        (
            [Cause("Error", "Unexpected server response: 401")],
            "deepgram",
            FailureKind.KEY_REFUSED,
            "deepgram refused the key: 401",
        ),
        # any
        (
            [Cause("APITimeoutError", "Request timed out.")],
            "",
            FailureKind.TIMEOUT,
            "the provider did not answer in time",
        ),
        (
            [
                Cause(
                    "ConnectError",
                    "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed",
                    "proxy.local",
                )
            ],
            "openai",
            FailureKind.CERTIFICATE,
            "the certificate of proxy.local was not accepted",
        ),
        (
            [Cause("APIError", "no such voice."), Cause("HTTPError", "bad voice", "api.x.ai", 422)],
            "",
            FailureKind.OTHER,
            "no such voice: bad voice api.x.ai 422 (HTTPError)",
        ),
        ([Cause("ValueError", "")], "", FailureKind.OTHER, "ValueError"),
        ([Cause("StopAsyncIteration", "")], "", FailureKind.OTHER, "no reason given"),
        (
            [Cause("ValueError", "Deepgram API key is required")],
            "deepgram",
            FailureKind.MISSING_KEY,
            "DEEPGRAM_API_KEY is not set",
        ),
    ],
)
def test_a_failure_of_a_component_names_its_cause_and_the_host(
    causes: list[Cause], provider: str, kind: FailureKind, text: str
) -> None:
    failure = failure_of(causes, provider)
    assert (failure.kind, failure.text) == (kind, text)
