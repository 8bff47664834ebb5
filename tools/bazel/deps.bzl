"""What handoff builds with, taken from Debian's packages.

Every repository is defined with maybe(): a workspace that has its own Abseil,
protobuf or gRPC defines it before it calls handoff_dependencies(). See README.md.
"""

load("@bazel_tools//tools/build_defs/repo:utils.bzl", "maybe")
load(":system_repository.bzl", "system_repository")

def _file(name):
    # As a Label it means this file's repository, whichever workspace calls us.
    return Label("//tools/bazel:" + name)

# pkg-config's modules are Abseil's CMake targets: where one is not "absl_" and
# the name of Bazel's target, it is given here.
_ABSL = {
    "absl/algorithm": ["algorithm", "container=algorithm_container"],
    "absl/base": [
        "base",
        "config",
        "core_headers",
        "dynamic_annotations",
        "endian",
        "log_severity",
    ],
    "absl/cleanup": ["cleanup"],
    "absl/container": [
        "btree",
        "fixed_array",
        "flat_hash_map",
        "flat_hash_set",
        "inlined_vector",
        "node_hash_map",
        "node_hash_set",
    ],
    "absl/debugging": [
        "failure_signal_handler",
        "leak_check",
        "stacktrace",
        "symbolize",
    ],
    "absl/flags": [
        "commandlineflag=flags_commandlineflag",
        "config=flags_config",
        "flag=flags",
        "marshalling=flags_marshalling",
        "parse=flags_parse",
        "reflection=flags_reflection",
        "usage=flags_usage",
    ],
    "absl/functional": ["any_invocable", "bind_front", "function_ref"],
    "absl/hash": ["hash"],
    "absl/memory": ["memory"],
    "absl/meta": ["type_traits"],
    "absl/numeric": ["bits", "int128"],
    "absl/random": [
        "bit_gen_ref=random_bit_gen_ref",
        "distributions=random_distributions",
        "random=random_random",
        "seed_sequences=random_seed_sequences",
    ],
    "absl/status": ["status", "statusor"],
    "absl/strings": ["cord", "str_format", "strings"],
    "absl/synchronization": ["synchronization"],
    "absl/time": ["time"],
    "absl/types": ["any", "compare", "optional", "span", "variant"],
    "absl/utility": ["utility"],
}

def _absl_libraries():
    libraries = {}
    for package, targets in _ABSL.items():
        for target in targets:
            name, _, module = target.partition("=")
            libraries[package + ":" + name] = "absl_" + (module or name)
    return libraries

def handoff_dependencies():
    """Defines each repository that handoff needs and that is not yet defined."""
    maybe(
        native.local_repository,
        name = "bazel_skylib",
        path = "/usr/share/bazel/tools/skylib",
    )
    maybe(
        native.local_repository,
        name = "rules_java",
        path = "/usr/share/bazel/rules/java",
    )
    maybe(
        native.local_repository,
        name = "rules_proto",
        path = "/usr/share/bazel/rules/proto",
    )
    maybe(
        system_repository,
        name = "rules_cc",
        files = {
            _file("rules_cc.BUILD"): "cc/BUILD.bazel",
            _file("rules_cc_defs.bzl"): "cc/defs.bzl",
        },
    )
    maybe(
        system_repository,
        name = "remote_coverage_tools",
        files = {_file("coverage.BUILD"): "BUILD.bazel"},
    )
    maybe(
        system_repository,
        name = "com_google_absl",
        libraries = _absl_libraries(),
    )
    maybe(
        system_repository,
        name = "com_google_protobuf",
        files = {_file("protobuf.BUILD"): "BUILD.bazel"},
        libraries = {
            ":protobuf": "protobuf",
            ":protobuf_lite": "protobuf-lite",
        },
        links = {
            "/usr/bin/protoc": "bin/protoc",
            "/usr/include/google/protobuf": "include/google/protobuf",
        },
    )
    maybe(
        system_repository,
        name = "com_github_grpc_grpc",
        files = {
            _file("cc_grpc_library.bzl"): "bazel/cc_grpc_library.bzl",
            _file("grpc.BUILD"): "BUILD.bazel",
            _file("grpc_bazel.BUILD"): "bazel/BUILD.bazel",
        },
        libraries = {
            ":grpc++": "grpc++ protobuf",
            ":grpc++_reflection": "-lgrpc++_reflection -lgrpc++ -lgrpc -lprotobuf",
            ":grpcpp_channelz": "-lgrpcpp_channelz -lgrpc++ -lgrpc -lprotobuf",
        },
        links = {"/usr/bin/grpc_cpp_plugin": "bin/grpc_cpp_plugin"},
    )
    maybe(
        system_repository,
        name = "com_google_googletest",
        libraries = {
            ":gtest": "gmock gtest",
            ":gtest_main": "gmock_main gmock gtest",
        },
    )
    maybe(
        system_repository,
        name = "com_github_google_benchmark",
        libraries = {
            ":benchmark": "benchmark",
            ":benchmark_main": "-lbenchmark_main -lbenchmark",
        },
    )

    # Headers alone.
    maybe(
        system_repository,
        name = "cli11",
        libraries = {":cli11": ""},
    )

    # Headers alone: Boost.Asio needs no compiled part of Boost.
    maybe(
        system_repository,
        name = "boost",
        files = {
            _file("boost.BUILD"): "BUILD.bazel",
            _file("boost_asio_awaitable.hpp"): "include/boost/asio/awaitable.hpp",
        },
    )
    maybe(
        system_repository,
        name = "com_github_nodejs_http_parser",
        libraries = {":http_parser": "-l:libhttp_parser.a"},
    )
    # Headers alone, but for the formatting that they use.
    maybe(
        system_repository,
        name = "com_github_gabime_spdlog",
        libraries = {":spdlog": "fmt"},
    )
    maybe(
        system_repository,
        name = "com_github_jupp0r_prometheus_cpp",
        libraries = {"core:core": "prometheus-cpp-core"},
    )
    maybe(
        system_repository,
        name = "com_github_tatsuhiro_t_wslay",
        libraries = {":wslay": "-lwslay"},
    )
    maybe(
        system_repository,
        name = "openssl",
        libraries = {":crypto": "libcrypto"},
    )

    # Headers alone.
    maybe(
        system_repository,
        name = "com_github_nemtrif_utfcpp",
        libraries = {":utf8cpp": ""},
    )
