"""A repository whose targets stand for packages that the system has installed."""

_LIBRARY = """
cc_library(
    name = "{name}",
    linkopts = {linkopts},
    visibility = ["//visibility:public"],
)
"""

def _link_options(ctx, modules):
    if modules.startswith("-"):
        return modules.split(" ")
    if not modules:
        return []
    result = ctx.execute(["pkg-config", "--libs"] + modules.split(" "))
    if result.return_code != 0:
        fail("%s: pkg-config knows no %s; run tools/setup (%s)" % (
            ctx.name,
            modules,
            result.stderr.strip(),
        ))

    # Debian's Abseil names some archives several times over, which matters to
    # no shared library; only the order of the first mentions is kept. A pair of
    # --push-state and --pop-state must stay around what it holds.
    options = []
    for option in result.stdout.strip().split(" "):
        if option and (not option.startswith("-l") or option not in options):
            options.append(option)
    return options

def _system_repository_impl(ctx):
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)

    for target, path in ctx.attr.links.items():
        if not ctx.path(target).exists:
            fail("%s: no %s; run tools/setup" % (ctx.name, target))
        ctx.symlink(target, path)

    packages = {}
    for label, modules in ctx.attr.libraries.items():
        package, _, name = label.partition(":")
        packages.setdefault(package, []).append(_LIBRARY.format(
            name = name,
            linkopts = repr(_link_options(ctx, modules)),
        ))
    for label, path in ctx.attr.files.items():
        if path.endswith("BUILD.bazel"):
            package = path[:-len("BUILD.bazel")].rstrip("/")
            packages.setdefault(package, []).insert(0, ctx.read(label))
        else:
            ctx.symlink(label, path)
    for package, parts in packages.items():
        ctx.file(
            package + "/BUILD.bazel" if package else "BUILD.bazel",
            "".join(parts),
            executable = False,
        )

system_repository = repository_rule(
    implementation = _system_repository_impl,
    doc = "Headers are those of /usr/include, which the compiler searches anyway.",
    attrs = {
        "files": attr.label_keyed_string_dict(
            allow_files = True,
            doc = "File of this folder -> its path in the repository.",
        ),
        "libraries": attr.string_dict(
            doc = "'package:target' -> the modules that pkg-config is asked " +
                  "for, or the linker's options if they start with a dash.",
        ),
        "links": attr.string_dict(
            doc = "Absolute path on the system -> path in the repository.",
        ),
    },
    configure = True,
    local = True,
)
