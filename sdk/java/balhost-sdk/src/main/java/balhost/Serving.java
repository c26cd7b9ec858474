package balhost;

import io.grpc.Server;
import io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.NettyServerBuilder;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerDomainSocketChannel;
import io.netty.handler.ssl.ClientAuth;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslProvider;
import java.io.FileInputStream;
import java.io.IOException;
import java.net.Socket;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedTrustManager;

/** A plugin's process, from its start to its exit. */
final class Serving {
  private static final String COOKIE = "5b1f0c2e8a6d4937b0c4d2f1e6a97358";
  private static final int VERSION = 2;
  private static final int WINDOW = 4 << 20; // of HTTP/2, each way
  private static final long LOG_PATIENCE_MS = 1000;
  private static final long ORPHAN_GRACE_MS = 3000;

  private enum Phase {
    STARTING,
    SERVING,
    OVER
  }

  private final Plugin plugin;
  private final LogFile file = LogFile.stderr();
  private final Log log = new Log(file::write);
  private volatile Phase phase = Phase.STARTING;

  private Serving(Plugin plugin) {
    this.plugin = plugin;
  }

  /** Serves until the process exits. */
  static void main(Plugin plugin) {
    new Serving(plugin).serve();
  }

  private void serve() {
    Instance instance;
    try {
      instance = new Instance(plugin, log);
    } catch (InvalidException e) {
      System.err.println("it can't run: " + e.getMessage());
      exit(1);
      return;
    }
    if (!COOKIE.equals(System.getenv("BALHOST_PLUGIN"))) {
      System.err.print(byHand());
      exit(2);
    }
    log.bridge();
    Thread.setDefaultUncaughtExceptionHandler(
        (t, e) -> log.error("a thread died", "thread", t.getName(), "err", e));
    outlive();
    try {
      var socket = listen(instance);
      System.out.println("1|" + VERSION + "|unix|" + socket + "|grpc");
      System.out.flush();
    } catch (IOException | GeneralSecurityException | RuntimeException | LinkageError e) {
      log.error("it can't serve", "err", e);
      exit(1);
    }
    try {
      instance.ended().await();
      phase = Phase.OVER;
      Thread.sleep(ORPHAN_GRACE_MS); // the host stops this process now, unless it was killed
      log.warn(
          "the connection to the host has ended, and the host has not stopped this process:"
              + " exiting");
    } catch (InterruptedException e) {
      log.warn("the main thread was interrupted: exiting");
    }
    exit(1);
  }

  private void exit(int status) {
    file.flush(LOG_PATIENCE_MS);
    Runtime.getRuntime().halt(status);
  }

  private Path listen(Instance instance) throws IOException, GeneralSecurityException {
    var versions = String.valueOf(System.getenv("PLUGIN_PROTOCOL_VERSIONS"));
    if (!Arrays.asList(versions.split(",")).contains(String.valueOf(VERSION))) {
      throw new IOException(
          "the host speaks the versions "
              + versions
              + " of the protocol, and this plugin "
              + VERSION
              + ": take an SDK that fits the host");
    }
    var folder = System.getenv("PLUGIN_UNIX_SOCKET_DIR");
    if (folder == null || folder.isEmpty()) {
      throw new IOException("PLUGIN_UNIX_SOCKET_DIR is not set: the host is too old for this SDK");
    }
    var dir = Path.of(folder);
    var socket = dir.resolve("plugin.sock");
    // One thread reads and writes all. Nothing waits there.
    var loop = new MultiThreadIoEventLoopGroup(1, Serving::looper, NioIoHandler.newFactory());
    Server server =
        NettyServerBuilder.forAddress(UnixDomainSocketAddress.of(socket))
            .channelType(NioServerDomainSocketChannel.class)
            .bossEventLoopGroup(loop)
            .workerEventLoopGroup(loop)
            .directExecutor()
            .sslContext(tls(dir))
            .maxInboundMessageSize(Integer.MAX_VALUE)
            .flowControlWindow(WINDOW)
            .keepAliveTime(Integer.MAX_VALUE, TimeUnit.DAYS)
            .addService(
                GrpcServer.plugin(instance, () -> phase = Phase.SERVING, () -> phase = Phase.OVER))
            .addService(GrpcServer.metrics(instance))
            .addService(GrpcServer.health())
            .addService(GrpcServer.controller(this::shutdown))
            .build();
    server.start();
    return socket;
  }

  private static Thread looper(Runnable r) {
    return new Thread(r, "balhost-grpc");
  }

  /** The host wants the process to end, now. The answer may go out before. */
  private void shutdown() {
    var t = new Thread(() -> exit(0), "balhost-exit");
    t.start();
  }

  private static SslContext tls(Path dir) throws IOException, GeneralSecurityException {
    X509Certificate host;
    try (var in = new FileInputStream(dir.resolve("host.crt").toFile())) {
      host = (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(in);
    }
    var own =
        SslContextBuilder.forServer(
            dir.resolve("plugin.crt").toFile(), dir.resolve("plugin.key").toFile());
    return GrpcSslContexts.configure(own, SslProvider.JDK)
        .clientAuth(ClientAuth.REQUIRE)
        .trustManager(new Only(host))
        .build();
  }

  /** Trusts one certificate, whatever its dates and names: it was made for this process. */
  private static final class Only extends X509ExtendedTrustManager {
    private final X509Certificate host;

    Only(X509Certificate host) {
      this.host = host;
    }

    private void check(X509Certificate[] chain) throws CertificateException {
      if (chain.length == 0 || !chain[0].equals(host)) {
        throw new CertificateException("the client is not the host that started this process");
      }
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type, Socket s)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine e)
        throws CertificateException {
      check(chain);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type)
        throws CertificateException {
      throw new CertificateException("a plugin is no client");
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type, Socket s)
        throws CertificateException {
      checkServerTrusted(chain, type);
    }

    @Override
    public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine e)
        throws CertificateException {
      checkServerTrusted(chain, type);
    }

    @Override
    public X509Certificate[] getAcceptedIssuers() {
      return new X509Certificate[] {host};
    }
  }

  /** Signals that are meant for the host don't end the process while it is connected. */
  private void outlive() {
    for (var name : new String[] {"TERM", "INT", "HUP"}) {
      sun.misc.Signal.handle(
          new sun.misc.Signal(name),
          s -> {
            if (phase == Phase.SERVING) {
              log.debug("signal ignored: the host decides when to stop", "state", s.getName());
              return;
            }
            log.debug("signal without a connection to the host: exiting", "state", s.getName());
            exit(phase == Phase.OVER ? 0 : 1);
          });
    }
  }

  private String byHand() {
    return """
    %1$s is a plugin of balhost. It does nothing when you start it by hand.
    Copy its folder into the plugins folder of a host, under the name "%1$s". A running host
    starts it at once. Then "balhost status" shows it.
    """
        .formatted(plugin.name());
  }
}
