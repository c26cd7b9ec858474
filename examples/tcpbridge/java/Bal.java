import java.io.*;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.*;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;
import javax.net.SocketFactory;
import javax.net.ssl.*;

/**
 * A business layer (BAL) for balhost's tcpbridge, with nothing but the JDK (17 or later). Copy this
 * class into your program; with a JSON library of your own, leave {@link Json} out. Run as a
 * program, it sends each device its own message back:
 *
 * <pre>java Bal.java --session com.example.bal</pre>
 *
 * <p>{@link #run} connects, logs on, and gives each message to a handler, one after the other, in
 * the order of the bridge. When a handler has returned, the message is acked. If it throws, or the
 * process dies before, the message comes again: so a handler must bear to see one twice.
 */
public final class Bal implements Runnable {
    /** Where the bridge is, and who logs on. */
    public record Options(String host, int port, String sessionId, String token, SocketFactory sockets) {}

    /** What the bridge gives to a handler: a message of a device, or how a downstream ended. */
    public record Message(String type, long sequenceId, String hostSession, String error, String errorDescription, Map<String, Object> fcmData) {}

    private static final int MAX_KEPT = 1000; // downstreams that the bridge has not acked
    private static final int SILENCE = 60_000; // ms; the bridge writes at least every 15 s
    private static final int MAX_LINE = 1 << 20; // bytes
    private static final long FIRST_DELAY = 200, LAST_DELAY = 30_000; // ms

    private final Options options;
    private final Consumer<Message> onUpstream, onReport;
    private final Map<String, byte[]> kept = new LinkedHashMap<>(); // by message_id; guarded by this, as what follows
    private Socket socket; // null: not logged on
    private Thread running;
    private volatile boolean closed;

    /**
     * @param onUpstream gets what a device has sent: its fcmData has from, message_id and data
     * @param onReport hears how a downstream ended: its type is DOWNSTREAM_ACK, DOWNSTREAM_REJECT or
     *     DOWNSTREAM_RECEIPT
     */
    public Bal(Options options, Consumer<Message> onUpstream, Consumer<Message> onReport) {
        this.options = options;
        this.onUpstream = onUpstream;
        this.onReport = onReport;
    }

    /**
     * Sends a downstream and returns its message_id. Any thread may call it, at any time. It is kept
     * in memory until the bridge has stored it, and written again after a reconnect.
     *
     * @param fcmData as CCS had it: to, data, notification, time_to_live and so on. Give it a
     *     message_id that you make from your own data, and the same downstream sent twice, even after
     *     a crash, is stored once. Without one it gets a random one.
     * @param groupId downstreams of one group go out one after the other; "" for none
     * @param hostSession the host's session that it goes by, for an answer that of its upstream; "" for the only one
     * @throws InterruptedException while 1,000 are kept and it waits; in a handler it does not wait
     */
    public synchronized String send(Map<String, Object> fcmData, String groupId, String hostSession) throws InterruptedException {
        while (kept.size() >= MAX_KEPT && Thread.currentThread() != running && !closed) {
            wait();
        }
        Map<String, Object> data = new LinkedHashMap<>(fcmData);
        String id = (String) data.computeIfAbsent("message_id", key -> UUID.randomUUID().toString());
        Map<String, Object> message = new LinkedHashMap<>(Map.of("message_type", "DOWNSTREAM", "fcm_data", data));
        if (!groupId.isEmpty()) {
            message.put("group_id", groupId);
        }
        if (!hostSession.isEmpty()) {
            message.put("host_session", hostSession);
        }
        byte[] line = line(message);
        kept.put(id, line);
        write(line);
        return id;
    }

    /** Connects, and connects again, until close is called. */
    @Override
    public void run() {
        synchronized (this) {
            running = Thread.currentThread();
        }
        for (long delay = FIRST_DELAY; !closed; delay = Math.min(2 * delay, LAST_DELAY)) {
            try {
                if (serve()) {
                    delay = FIRST_DELAY;
                }
                pause(delay);
            } catch (InterruptedException e) {
                close();
            }
        }
    }

    /** Ends run. Downstreams that the bridge has not acked are lost, if you don't send them again. */
    public synchronized void close() {
        closed = true;
        hangUp();
        notifyAll();
    }

    /** TLS that trusts the certificates in a PEM file, and no others. SSLSocketFactory.getDefault() trusts those of the JDK. */
    public static SocketFactory trusting(Path pem) throws IOException, GeneralSecurityException {
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null, null);
        try (InputStream in = Files.newInputStream(pem)) {
            for (Certificate c : CertificateFactory.getInstance("X.509").generateCertificates(in)) {
                trusted.setCertificateEntry("ca" + trusted.size(), c);
            }
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(null, trust.getTrustManagers(), null);
        return tls.getSocketFactory();
    }

    private synchronized void pause(long delay) throws InterruptedException {
        long until = System.nanoTime() + ThreadLocalRandom.current().nextLong(delay / 2, delay + 1) * 1_000_000;
        for (long left; !closed && (left = (until - System.nanoTime()) / 1_000_000) > 0; ) {
            wait(left);
        }
    }

    /** One connection; reports whether it was of use. */
    private boolean serve() {
        boolean used = false;
        try (Socket s = options.sockets.createSocket()) {
            s.connect(new InetSocketAddress(options.host, options.port), 10_000);
            s.setSoTimeout(10_000);
            InputStream in = new BufferedInputStream(s.getInputStream());
            logon(s, in);
            for (Map<String, Object> message; (message = read(in)) != null; used = true) {
                handle(message);
            }
            warn("the bridge has closed the connection");
        } catch (IOException e) {
            warn("not connected: " + e.getMessage());
        } catch (RuntimeException e) {
            warn("a handler failed, its message comes again");
            e.printStackTrace();
        } finally {
            hangUp();
        }
        return used;
    }

    private void logon(Socket s, InputStream in) throws IOException {
        if (s instanceof SSLSocket tls) {
            SSLParameters check = tls.getSSLParameters();
            check.setEndpointIdentificationAlgorithm("HTTPS"); // the certificate is for this host
            tls.setSSLParameters(check);
        }
        Map<String, Object> logon = new LinkedHashMap<>(Map.of("message_type", "LOGON", "session_id", options.sessionId));
        if (!options.token.isEmpty()) {
            logon.put("token", options.token);
        }
        s.getOutputStream().write(line(logon));
        Map<String, Object> answer = read(in);
        if (answer == null || !"SUCCESS".equals(answer.get("status"))) {
            throw new IOException(answer == null ? "the bridge has closed the connection" : text(answer, "error_description"));
        }
        s.setSoTimeout(SILENCE);
        synchronized (this) {
            socket = s;
            for (byte[] line : kept.values()) {
                write(line);
            }
            if (closed) {
                throw new IOException("closed");
            }
        }
        warn("logged on as " + options.sessionId);
    }

    private void handle(Map<String, Object> message) throws IOException {
        String type = text(message, "message_type");
        if (type.equals("ACK")) {
            synchronized (this) {
                kept.remove(text(message, "message_id"));
                notifyAll();
            }
            return;
        } else if (type.equals("ERROR")) {
            throw new IOException(text(message, "error_description"));
        } else if (!(message.get("sequence_id") instanceof Number)) {
            return; // of a later version
        }
        long sequence = ((Number) message.get("sequence_id")).longValue();
        Message m = new Message(type, sequence, text(message, "host_session"), text(message, "error"), text(message, "error_description"),
            Json.object(message.get("fcm_data")));
        (type.equals("UPSTREAM") ? onUpstream : onReport).accept(m);
        synchronized (this) { // behind what the handler has sent: the bridge takes lines in their order
            write(line(Map.of("message_type", "ACK", "sequence_id", sequence)));
        }
    }

    /** The next message; null at the end of the connection. */
    private static Map<String, Object> read(InputStream in) throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        for (int c; (c = in.read()) >= 0; ) {
            if (c != '\n') {
                line.write(c);
                if (line.size() > MAX_LINE) {
                    throw new IOException("a line has more than " + MAX_LINE + " bytes");
                }
            } else if (!line.toString(StandardCharsets.UTF_8).isBlank()) {
                return Json.object(Json.read(line.toString(StandardCharsets.UTF_8)));
            } else { // a heartbeat
                line.reset();
            }
        }
        return null;
    }

    /** Is called with this held. Without a connection it does nothing: what counts comes again. */
    private void write(byte[] line) {
        try {
            if (socket != null) {
                socket.getOutputStream().write(line);
            }
        } catch (IOException e) {
            hangUp(); // half a line may have gone
        }
    }

    /** Ends the connection, so that run makes another. */
    private synchronized void hangUp() {
        try {
            if (socket != null) {
                socket.close();
            }
        } catch (IOException e) {
            // it has ended
        }
        socket = null;
    }

    private static byte[] line(Map<String, Object> message) {
        return (Json.write(message) + "\n").getBytes(StandardCharsets.UTF_8);
    }

    private static String text(Map<String, Object> message, String key) {
        return message.get(key) instanceof String s ? s : "";
    }

    private static void warn(String text) {
        System.err.println("bal: " + text);
    }

    /** JSON as far as the protocol needs it: maps, lists, strings, numbers, booleans and null. */
    public static final class Json {
        private final String text;
        private int at;

        private Json(String text) {
            this.text = text;
        }

        /** Reads one value. A whole number is a Long, another one a Double. */
        public static Object read(String text) throws IOException {
            Json json = new Json(text);
            try {
                Object value = json.value(0);
                if (json.peek() != 0) {
                    throw json.wrong();
                }
                return value;
            } catch (StringIndexOutOfBoundsException | NumberFormatException e) {
                throw json.wrong();
            }
        }

        /** The value as an object; an empty one if it is something else. */
        @SuppressWarnings("unchecked")
        public static Map<String, Object> object(Object value) {
            return value instanceof Map ? (Map<String, Object>) value : Map.of();
        }

        public static String write(Object value) {
            StringBuilder out = new StringBuilder();
            write(out, value);
            return out.toString();
        }

        private IOException wrong() {
            return new IOException("not JSON at character " + at);
        }

        /** The next character that is no space; 0 at the end. */
        private char peek() {
            while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
            return at < text.length() ? text.charAt(at) : 0;
        }

        private boolean take(String word) {
            boolean is = text.startsWith(word, at);
            at += is ? word.length() : 0;
            return is;
        }

        private Object value(int depth) throws IOException {
            switch (peek()) {
                case '{':
                    Map<String, Object> object = new LinkedHashMap<>();
                    items('}', depth, key -> {
                        if (peek() != ':') {
                            throw wrong();
                        }
                        at++;
                        object.put((String) key, value(depth + 1));
                    });
                    return object;
                case '[':
                    List<Object> list = new ArrayList<>();
                    items(']', depth, list::add);
                    return list;
                case '"':
                    return string();
                case 't', 'f', 'n':
                    if (take("true")) {
                        return true;
                    } else if (take("false")) {
                        return false;
                    } else if (take("null")) {
                        return null;
                    }
                    throw wrong();
                default:
                    int from = at;
                    while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) {
                        at++;
                    }
                    String number = text.substring(from, at);
                    return number.matches("-?\\d{1,18}") ? (Object) Long.valueOf(number) : Double.valueOf(number);
            }
        }

        private interface Item {
            void take(Object value) throws IOException;
        }

        /** Reads what stands between brackets; of an object, item reads on behind each key. */
        private void items(char end, int depth, Item item) throws IOException {
            if (depth > 100) {
                throw new IOException("JSON is nested too deeply");
            }
            at++;
            if (peek() == end) {
                at++;
                return;
            }
            for (char next = ','; next == ','; at++) {
                if (end == '}' && peek() != '"') {
                    throw wrong();
                }
                item.take(end == '}' ? string() : value(depth + 1));
                next = peek();
                if (next != ',' && next != end) {
                    throw wrong();
                }
            }
        }

        private String string() {
            StringBuilder s = new StringBuilder();
            for (at++; text.charAt(at) != '"'; at++) {
                char c = text.charAt(at);
                if (c == '\\') {
                    c = text.charAt(++at);
                    int escape = "bfnrt".indexOf(c);
                    if (c == 'u') {
                        c = (char) Integer.parseInt(text.substring(at + 1, at + 5), 16);
                        at += 4;
                    } else if (escape >= 0) {
                        c = "\b\f\n\r\t".charAt(escape);
                    }
                }
                s.append(c);
            }
            at++;
            return s.toString();
        }

        private static void write(StringBuilder out, Object value) {
            if (value instanceof Map<?, ?> map) {
                char before = '{';
                for (Map.Entry<?, ?> e : map.entrySet()) {
                    out.append(before);
                    write(out, (String) e.getKey());
                    out.append(':');
                    write(out, e.getValue());
                    before = ',';
                }
                out.append(map.isEmpty() ? "{}" : "}");
            } else if (value instanceof List<?> list) {
                char before = '[';
                for (Object item : list) {
                    out.append(before);
                    write(out, item);
                    before = ',';
                }
                out.append(list.isEmpty() ? "[]" : "]");
            } else if (value instanceof String s) {
                out.append('"');
                for (char c : s.toCharArray()) {
                    if (c == '"' || c == '\\') {
                        out.append('\\').append(c);
                    } else if (c < 0x20 || Character.isSurrogate(c)) {
                        out.append(String.format("\\u%04x", (int) c));
                    } else {
                        out.append(c);
                    }
                }
                out.append('"');
            } else {
                out.append(value); // a number, a boolean or null
            }
        }
    }

    /** The program: a business layer that answers each device with its own data. */
    public static void main(String[] args) throws Exception {
        Map<String, String> flags = new HashMap<>(Map.of("--host", "127.0.0.1", "--port", "5001", "--session", "com.example.bal", "--token-file", "", "--ca", ""));
        for (int i = 0; i < args.length; i += 2) {
            if (!flags.containsKey(args[i]) || i + 1 == args.length) {
                System.err.println("usage: java Bal.java [--host H] [--port N] [--session ID] [--token-file FILE] [--ca FILE]");
                System.exit(2);
            }
            flags.put(args[i], args[i + 1]);
        }
        String token = flags.get("--token-file").isEmpty() ? "" : Files.readString(Path.of(flags.get("--token-file"))).strip();
        SocketFactory sockets = flags.get("--ca").isEmpty() ? SocketFactory.getDefault() : trusting(Path.of(flags.get("--ca")));
        Bal[] bal = new Bal[1];
        bal[0] = new Bal(
            new Options(flags.get("--host"), Integer.parseInt(flags.get("--port")), flags.get("--session"), token, sockets),
            message -> echo(bal[0], message),
            message -> tell("report " + message.type() + " " + text(message.fcmData(), "message_id") + " " + message.errorDescription()));
        bal[0].run();
    }

    private static void echo(Bal bal, Message message) {
        Map<String, Object> device = message.fcmData();
        String from = text(device, "from");
        Map<String, Object> data = Json.object(device.get("data"));
        tell("upstream " + message.sequenceId() + " " + from + " " + Json.write(data));
        // The same upstream always has the same answer id, so it is answered once.
        Map<String, Object> answer = Map.of("to", from, "message_id", idOf(from + " " + text(device, "message_id")), "data", data);
        try {
            bal.send(answer, from.substring(0, Math.min(from.length(), 60)), message.hostSession());
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void tell(String text) {
        System.out.println(text);
        System.out.flush();
    }

    private static String idOf(String text) {
        try {
            byte[] sum = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(sum, 0, 16);
        } catch (java.security.NoSuchAlgorithmException e) {
            throw new IllegalStateException(e); // every JDK has it
        }
    }
}
