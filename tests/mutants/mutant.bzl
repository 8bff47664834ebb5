"""Tests of the tests: a copy of one with a fault in the product must fail."""

load("@rules_cc//cc:defs.bzl", "cc_binary")

def mutant(name, source, net, deps, says, args = []):
    """A test that passes where `net`, linked with a faulty `source`, fails.

    Args:
      name: of the fault; NAME.patch is what makes it.
      source: the file of the product that has it.
      net: the sources of the test that has to notice.
      deps: of that test.
      says: an extended regular expression that its output has to match, so that
        it fails for what the fault does and for nothing else.
      args: to run it with.
    """
    native.genrule(
        name = name + "_source",
        testonly = True,
        srcs = [source, name + ".patch"],
        outs = [name + ".cc"],
        # A link is not what patch(1) takes for a file.
        cmd = "cp -L $(location %s) $@ && patch --quiet $@ $(location %s.patch)" % (source, name),
    )

    # The faulty source comes before the library that has the sound one: the
    # linker takes a member of a library only for what nobody has defined yet.
    cc_binary(
        name = name + "_net",
        testonly = True,
        srcs = net + [name + ".cc"],
        deps = deps,
    )
    native.sh_test(
        name = name + "_test",
        size = "large",
        srcs = ["must_fail.sh"],
        args = ["$(location :%s_net)" % name, "'%s'" % says] + args,
        data = [":%s_net" % name],
        tags = ["no-asan", "no-tsan"],
    )
