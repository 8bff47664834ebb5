"""gRPC's cc_grpc_library, as far as its arguments are those of generated stubs."""

def _grpc_sources_impl(ctx):
    outputs = []
    for dep in ctx.attr.protos:
        info = dep[ProtoInfo]
        descriptors = info.transitive_descriptor_sets
        for source in info.direct_sources:
            # A source's import path is its path below its repository, and so is
            # the path of what is generated, below the folder for outputs.
            root = ctx.label.workspace_root
            path = source.path
            if root and path.startswith(root + "/"):
                path = path[len(root) + 1:]
            prefix = ctx.label.package + "/" if ctx.label.package else ""
            if not path.startswith(prefix) or not path.endswith(".proto"):
                fail("%s is not a source of package '%s'" % (path, ctx.label.package))
            stem = path[len(prefix):-len(".proto")]
            generated = [
                ctx.actions.declare_file(stem + suffix)
                for suffix in [".grpc.pb.cc", ".grpc.pb.h"]
            ]
            out = ctx.bin_dir.path + ("/" + root if root else "")

            args = ctx.actions.args()
            args.add(ctx.executable._plugin, format = "--plugin=protoc-gen-grpc=%s")
            args.add("--grpc_out=" + out)
            args.add_joined(
                descriptors,
                join_with = ":",
                format_joined = "--descriptor_set_in=%s",
            )
            args.add(path)
            ctx.actions.run(
                executable = ctx.executable._protoc,
                arguments = [args],
                inputs = descriptors,
                tools = [ctx.executable._plugin],
                outputs = generated,
                mnemonic = "GrpcGenerate",
                progress_message = "Generating gRPC stubs for %s" % path,
            )
            outputs += generated
    return [DefaultInfo(files = depset(outputs))]

_grpc_sources = rule(
    implementation = _grpc_sources_impl,
    attrs = {
        "protos": attr.label_list(mandatory = True, providers = [ProtoInfo]),
        "_plugin": attr.label(
            default = "//:grpc_cpp_plugin",
            executable = True,
            cfg = "host",
        ),
        "_protoc": attr.label(
            default = "@com_google_protobuf//:protoc",
            executable = True,
            cfg = "host",
        ),
    },
)

def cc_grpc_library(name, srcs, deps, grpc_only = False, **kwargs):
    """The service stubs of `srcs`, whose messages are in `deps`.

    Args:
      name: The cc_library to make.
      srcs: One proto_library of the same package.
      deps: The cc_proto_library of it.
      grpc_only: Must be True; gRPC's own rule can also generate the messages.
      **kwargs: Passed on to the cc_library.
    """
    if not grpc_only:
        fail("cc_grpc_library(grpc_only = True) is all that this one does")
    sources = "_" + name + "_grpc_sources"
    _grpc_sources(
        name = sources,
        protos = srcs,
        tags = ["manual"],
        visibility = ["//visibility:private"],
    )
    native.cc_library(
        name = name,
        srcs = [sources],
        hdrs = [sources],
        deps = deps + [Label("//:grpc++")],
        **kwargs
    )
