package balhost;

import balhost.plugin.v1.ConfigureReply;
import balhost.plugin.v1.ConfigureRequest;
import balhost.plugin.v1.DescribeRequest;
import balhost.plugin.v1.HostFrame;
import balhost.plugin.v1.PluginFrame;
import com.google.protobuf.ByteString;
import com.google.protobuf.BytesValue;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.MessageLite;
import io.grpc.KnownLength;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.function.Function;

/** The gRPC services of a plugin, over an {@link Instance}. */
final class GrpcServer {
  private static final String PLUGIN = "balhost.plugin.v1.Plugin";
  private static final String METRICS = "balhost.plugin.v1.Metrics";
  private static final int MAX_ERROR = 1024; // characters: it travels in a header of HTTP/2
  private static final byte[] SERVING = {8, 1}; // HealthCheckResponse{status: SERVING}

  private GrpcServer() {}

  /** Describe, Configure and Session. Configure runs on a thread of its own. */
  static ServerServiceDefinition plugin(Instance instance, Runnable opened, Runnable gone) {
    return ServerServiceDefinition.builder(PLUGIN)
        .addMethod(
            method(
                PLUGIN,
                "Describe",
                MethodType.UNARY,
                new Proto<>(DescribeRequest.getDefaultInstance()),
                new Proto<>(balhost.plugin.v1.Manifest.getDefaultInstance())),
            unary(instance::describe))
        .addMethod(
            method(
                PLUGIN,
                "Configure",
                MethodType.UNARY,
                new Proto<>(ConfigureRequest.getDefaultInstance()),
                new Proto<>(ConfigureReply.getDefaultInstance())),
            configure(instance))
        .addMethod(
            method(
                PLUGIN,
                "Session",
                MethodType.BIDI_STREAMING,
                new Proto<>(HostFrame.getDefaultInstance()),
                new Proto<>(PluginFrame.getDefaultInstance())),
            session(instance, opened, gone))
        .build();
  }

  /** Text gives the plugin's own metrics. It runs on a thread of its own. */
  static ServerServiceDefinition metrics(Instance instance) {
    return ServerServiceDefinition.builder(METRICS)
        .addMethod(
            method(
                METRICS,
                "Text",
                MethodType.UNARY,
                new Bytes(),
                new Proto<>(BytesValue.getDefaultInstance())),
            (call, headers) ->
                new Unary<>(call, q -> start("balhost-metrics", () -> measure(call, instance))))
        .build();
  }

  private static void measure(ServerCall<byte[], BytesValue> call, Instance instance) {
    try {
      var text = BytesValue.of(instance.metrics());
      call.sendHeaders(new Metadata());
      call.sendMessage(text);
      call.close(Status.OK, new Metadata());
    } catch (UnavailableException e) {
      call.close(Status.UNAVAILABLE.withDescription(e.getMessage()), new Metadata());
    } catch (Throwable e) {
      var why = Instance.text(e);
      var brief = Check.cleaned(why.substring(0, Math.min(why.length(), MAX_ERROR)));
      call.close(Status.UNKNOWN.withDescription(brief), new Metadata());
    }
  }

  private static void start(String name, Runnable r) {
    var t = new Thread(r, name);
    t.setDaemon(true);
    t.start();
  }

  /** gRPC's health service: what serves, serves. */
  static ServerServiceDefinition health() {
    return ServerServiceDefinition.builder("grpc.health.v1.Health")
        .addMethod(
            method("grpc.health.v1.Health", "Check", MethodType.UNARY, new Bytes(), new Bytes()),
            unary(request -> SERVING))
        .build();
  }

  /** go-plugin's controller: Shutdown ends the process. */
  static ServerServiceDefinition controller(Runnable shutdown) {
    return ServerServiceDefinition.builder("plugin.GRPCController")
        .addMethod(
            method("plugin.GRPCController", "Shutdown", MethodType.UNARY, new Bytes(), new Bytes()),
            unary(
                request -> {
                  shutdown.run();
                  return new byte[0];
                }))
        .build();
  }

  private static <Q, R> MethodDescriptor<Q, R> method(
      String service,
      String name,
      MethodType type,
      MethodDescriptor.Marshaller<Q> request,
      MethodDescriptor.Marshaller<R> response) {
    return MethodDescriptor.newBuilder(request, response)
        .setType(type)
        .setFullMethodName(MethodDescriptor.generateFullMethodName(service, name))
        .build();
  }

  private static <Q, R> ServerCallHandler<Q, R> unary(Function<Q, R> function) {
    return (call, headers) -> new Unary<>(call, q -> answer(call, function, q));
  }

  private static ServerCallHandler<ConfigureRequest, ConfigureReply> configure(Instance instance) {
    return (call, headers) ->
        new Unary<>(
            call, q -> start("balhost-start", () -> answer(call, instance::configure, q)));
  }

  private static <Q, R> void answer(ServerCall<Q, R> call, Function<Q, R> function, Q request) {
    try {
      var reply = function.apply(request);
      call.sendHeaders(new Metadata());
      call.sendMessage(reply);
      call.close(Status.OK, new Metadata());
    } catch (IllegalStateException e) {
      call.close(Status.FAILED_PRECONDITION.withDescription(e.getMessage()), new Metadata());
    }
  }

  /** A call with one request. */
  private static final class Unary<Q, R> extends ServerCall.Listener<Q> {
    private final java.util.function.Consumer<Q> function;
    private Q request;

    Unary(ServerCall<Q, R> call, java.util.function.Consumer<Q> function) {
      this.function = function;
      call.request(2);
    }

    @Override
    public void onMessage(Q message) {
      request = message;
    }

    @Override
    public void onHalfClose() {
      function.accept(request);
    }
  }

  private static ServerCallHandler<HostFrame, PluginFrame> session(
      Instance instance, Runnable opened, Runnable gone) {
    return (call, headers) -> {
      var session = new Session(instance, call, gone);
      try {
        instance.open(session);
        opened.run();
        call.request(2);
        return session;
      } catch (IllegalStateException e) {
        call.close(Status.FAILED_PRECONDITION.withDescription(e.getMessage()), new Metadata());
        return new ServerCall.Listener<>() {};
      }
    };
  }

  /** The stream: gRPC's thread hears the host, and the instance's writer sends. */
  private static final class Session extends ServerCall.Listener<HostFrame>
      implements Instance.Stream {
    private final Instance instance;
    private final ServerCall<HostFrame, PluginFrame> call;
    private final Runnable gone;
    private boolean begun; // of the writer alone

    Session(Instance instance, ServerCall<HostFrame, PluginFrame> call, Runnable gone) {
      this.instance = instance;
      this.call = call;
      this.gone = gone;
    }

    @Override
    public void onMessage(HostFrame frame) {
      instance.hear(frame);
      call.request(1);
    }

    @Override
    public void onHalfClose() {
      instance.hostGone();
    }

    @Override
    public void onCancel() {
      instance.hostGone();
      onReady();
      gone.run();
    }

    @Override
    public void onComplete() {
      gone.run();
    }

    @Override
    public synchronized void onReady() {
      notifyAll();
    }

    @Override
    public void send(PluginFrame frame) throws InterruptedException {
      if (!begun) {
        begun = true;
        call.sendHeaders(new Metadata());
      }
      synchronized (this) {
        while (!call.isReady() && !call.isCancelled()) {
          wait();
        }
      }
      if (!call.isCancelled()) {
        call.sendMessage(frame);
      }
    }

    @Override
    public void end() {
      if (!call.isCancelled()) {
        call.close(Status.OK, new Metadata());
      }
    }
  }

  /** Messages of protobuf. */
  private record Proto<M extends MessageLite>(M prototype)
      implements MethodDescriptor.Marshaller<M> {
    @Override
    public InputStream stream(M message) {
      return new Text(message.toByteArray());
    }

    @Override
    public M parse(InputStream in) {
      try {
        var bytes = CodedInputStream.newInstance(in.readAllBytes());
        @SuppressWarnings("unchecked") // the parser of a prototype makes its kind
        var message = (M) prototype.getParserForType().parseFrom(bytes);
        return message;
      } catch (IOException e) {
        throw Status.INTERNAL
            .withDescription("unreadable message")
            .withCause(e)
            .asRuntimeException();
      }
    }
  }

  /** Messages that nobody looks into. */
  private static final class Bytes implements MethodDescriptor.Marshaller<byte[]> {
    @Override
    public InputStream stream(byte[] message) {
      return new Text(message);
    }

    @Override
    public byte[] parse(InputStream in) {
      try {
        return ByteString.readFrom(in).toByteArray();
      } catch (IOException e) {
        throw Status.INTERNAL.withCause(e).asRuntimeException();
      }
    }
  }

  /** Bytes whose number gRPC can ask for. */
  private static final class Text extends ByteArrayInputStream implements KnownLength {
    Text(byte[] bytes) {
      super(bytes);
    }
  }
}
