// NOT COMPILED where balhost is built: there is no Swift for Apple's systems. The web example is the tested one.
//
// Sends upstream messages to a balhost gateway with URLSession. The queue is one file.
// Same callbacks and error codes as Firebase's old upstream.
import Foundation

struct SendError: Error { let code: Int; let why: String } // 0 unknown, 1 parameters, 2 size, 3 TTL, 4 too many

actor Balhost {
    struct Message: Codable { let message_id: String; let data: [String: String]; let expires: Date }
    struct Receipt: Codable { let original_message_id, status, from: String; let timestamp: Int64 }
    struct State: Codable { var queue: [Message] = [], receipts: [Receipt] = [], seen: [String] = [] }
    struct Result: Decodable { let status: String; let description: String? }
    struct Results: Decodable { let results: [Result] }

    let url: URL, from: String, category: String, token: (Bool) async throws -> String
    var onMessageSent: (String) -> Void = { _ in }
    var onSendError: (String, SendError) -> Void = { _, _ in }
    private var state: State, sending = false
    private let file = URL.applicationSupportDirectory.appending(path: "balhost.json")

    init(url: URL, from: String, category: String, token: @escaping (Bool) async throws -> String) {
        (self.url, self.from, self.category, self.token) = (url, from, category, token)
        state = (try? JSONDecoder().decode(State.self, from: Data(contentsOf: file))) ?? State()
    }

    /// Returns when the message is on disk. Its id never changes, however often it is sent.
    func send(_ data: [String: String], ttl: TimeInterval = 86_400) throws -> String {
        guard try JSONEncoder().encode(data).count <= 60_000 else { throw SendError(code: 2, why: "over 60,000 bytes") }
        guard state.queue.count < 20 else { throw SendError(code: 4, why: "20 messages wait") }
        let message = Message(message_id: UUID().uuidString, data: data, expires: Date(timeIntervalSinceNow: ttl))
        state.queue.append(message)
        try save()
        Task { await flush() }
        return message.message_id
    }

    /// For pushes. True: the app has not had this message.
    func received(_ data: [String: String]) throws -> Bool {
        guard let id = data["bal_id"] else { return true }
        let fresh = !state.seen.contains(id)
        if fresh { state.seen = (state.seen + [id]).suffix(200) }
        if data["bal_receipt"] != nil {
            state.receipts.append(Receipt(original_message_id: id, status: "MESSAGE_SENT_TO_DEVICE", from: from, timestamp: Int64(Date().timeIntervalSince1970 * 1000)))
        }
        try save()
        Task { await flush() }
        return fresh
    }

    /// Sends all that waits, oldest first, and waits between failures. Call it at launch too.
    func flush() async {
        guard !sending else { return }
        sending = true
        defer { sending = false }
        var failures = 0, refused = false
        while true {
            for late in state.queue where late.expires < .now { onSendError(late.message_id, SendError(code: 3, why: "its time is over")) }
            state.queue.removeAll { $0.expires < .now }
            let batch = Array(state.queue.prefix(4)), receipts = batch.isEmpty ? Array(state.receipts.prefix(20)) : []
            if batch.isEmpty && receipts.isEmpty { return }
            var wait = Double.random(in: 0...min(300, pow(2, Double(failures))))
            do {
                var request = URLRequest(url: url.appending(path: batch.isEmpty ? "v1/receipts" : "v1/upstream"), timeoutInterval: 30)
                request.httpMethod = "POST"
                request.setValue("application/json", forHTTPHeaderField: "Content-Type")
                request.setValue("Bearer \(try await token(refused))", forHTTPHeaderField: "Authorization")
                let messages: [[String: Any]] = batch.map { ["message_id": $0.message_id, "from": from, "category": category, "data": $0.data,
                    "time_to_live": Int($0.expires.timeIntervalSinceNow.rounded(.up))] }
                request.httpBody = batch.isEmpty ? try JSONEncoder().encode(["receipts": receipts]) : try JSONSerialization.data(withJSONObject: ["messages": messages])
                let (body, response) = try await URLSession.shared.data(for: request)
                let answer = response as! HTTPURLResponse
                if answer.statusCode == 401 && !refused { refused = true; continue }
                if [401, 408, 429].contains(answer.statusCode) || answer.statusCode >= 500 {
                    wait = max(wait, Double(answer.value(forHTTPHeaderField: "Retry-After") ?? "") ?? 0)
                } else {
                    let results = answer.statusCode == 202 ? try JSONDecoder().decode(Results.self, from: body).results : []
                    state.queue.removeFirst(batch.count)
                    state.receipts.removeFirst(receipts.count)
                    try save()
                    for (i, m) in batch.enumerated() {
                        if i < results.count && results[i].status != "refused" { onMessageSent(m.message_id) }
                        else { onSendError(m.message_id, SendError(code: answer.statusCode == 413 ? 2 : 1, why: i < results.count ? results[i].description ?? "" : "HTTP \(answer.statusCode)")) }
                    }
                    failures = 0; refused = false
                    continue
                }
            } catch {} // perhaps it was stored: the same ids again
            failures += 1
            try? await Task.sleep(for: .seconds(wait))
        }
    }

    private func save() throws {
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try JSONEncoder().encode(state).write(to: file, options: .atomic)
    }
}
