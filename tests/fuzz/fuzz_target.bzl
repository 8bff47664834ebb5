"""A fuzzer with its corpus."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_test")

def fuzz_target(name, input, deps):
    """NAME_fuzzer.cc, with the seeds in corpus/NAME.

    NAME_corpus_test runs each of them once, in any configuration; NAME_fuzz_test
    is what tools/fuzz runs, with --config=fuzz.

    Args:
      name: of the target.
      input: the message of script.proto that its inputs are.
      deps: besides what all fuzzers use.
    """
    seeds = []
    for text in native.glob(["corpus/%s/*.textproto" % name]):
        seed = text.replace(".textproto", ".seed")
        native.genrule(
            name = seed.replace("/", "_").replace(".", "_"),
            testonly = True,
            srcs = [
                text,
                "script.proto",
                "//proto:handoff.proto",
            ],
            outs = [seed],
            cmd = "$(location @com_google_protobuf//:protoc) -I. -I/usr/include " +
                  "--encode=handoff.fuzz.%s tests/fuzz/script.proto " % input +
                  "<$(location %s) >$@" % text,
            tools = ["@com_google_protobuf//:protoc"],
        )
        seeds.append(seed)
    locations = ["$(location %s)" % seed for seed in seeds]

    cc_test(
        name = name + "_corpus_test",
        size = "small",
        srcs = [
            name + "_fuzzer.cc",
            "corpus_test.cc",
        ],
        args = locations,
        data = seeds,
        deps = deps + [
            ":script",
            "@com_google_googletest//:gtest",
        ],
    )
    cc_binary(
        name = name + "_fuzzer",
        testonly = True,
        srcs = [
            name + "_fuzzer.cc",
            "message_mutator.cc",
        ],
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["manual"],
        deps = deps + [
            ":script",
            "@com_google_protobuf//:protobuf",
        ],
    )
    native.sh_test(
        name = name + "_fuzz_test",
        srcs = ["run_fuzzer.sh"],
        args = ["$(location :%s_fuzzer)" % name] + locations,
        data = seeds + [":%s_fuzzer" % name],
        # Writes where tools/fuzz looks for findings.
        tags = [
            "manual",
            "no-sandbox",
        ],
    )
