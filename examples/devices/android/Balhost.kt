// NOT COMPILED where balhost is built: there is no Android SDK. It was tried by hand with OkHttp, against a gateway,
// with stand-ins for Android's own classes. The web example is the tested one.
//
// Sends upstream messages to a balhost gateway with OkHttp and WorkManager. The queue is one
// file. Replaces FirebaseMessaging.send: same callbacks, same error codes.
package com.example.balhost

import android.content.Context
import android.util.AtomicFile
import androidx.work.*
import java.io.File
import java.io.IOException
import java.util.UUID
import java.util.concurrent.TimeUnit
import okhttp3.MediaType.Companion.toMediaType
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.RequestBody.Companion.toRequestBody
import org.json.JSONArray
import org.json.JSONObject

class SendException(val errorCode: Int, why: String) : Exception(why)

/** The app makes one, in Application.onCreate: WorkManager may start the process for the worker alone. */
class Balhost(private val context: Context, val url: String, val from: String, val category: String, val token: (fresh: Boolean) -> String) {
    var onMessageSent: (String) -> Unit = {}
    var onSendError: (String, SendException) -> Unit = { _, _ -> }
    private val file = AtomicFile(File(context.filesDir, "balhost.json"))
    private val http = OkHttpClient.Builder().callTimeout(30, TimeUnit.SECONDS).build()

    init { shared = this }

    /** Returns when the message is on disk. The id never changes, however often it is sent. */
    fun send(data: Map<String, String>, ttlSeconds: Long = 86_400): String {
        val id = UUID.randomUUID().toString()
        val text = JSONObject(data)
        if (text.toString().toByteArray().size > 60_000) throw SendException(2, "over 60,000 bytes")
        change { s ->
            val queue = s.getJSONArray("queue")
            if (queue.length() >= 20) throw SendException(4, "20 messages wait")
            queue.put(JSONObject().put("message_id", id).put("data", text).put("expires", System.currentTimeMillis() + ttlSeconds * 1000))
        }
        wake()
        return id
    }

    /** For FirebaseMessagingService.onMessageReceived. True: the app has not had this message. */
    fun received(data: Map<String, String>): Boolean {
        val id = data["bal_id"] ?: return true
        val fresh = change { s ->
            val seen = s.getJSONArray("seen")
            val known = (0 until seen.length()).any { seen.getString(it) == id }
            if (!known) { seen.put(id); if (seen.length() > 200) seen.remove(0) }
            if (data["bal_receipt"] != null) s.getJSONArray("receipts").put(JSONObject().put("from", from)
                .put("original_message_id", id).put("status", "MESSAGE_SENT_TO_DEVICE").put("timestamp", System.currentTimeMillis()))
            !known
        }
        if (data["bal_receipt"] != null) wake()
        return fresh
    }

    private fun wake() = WorkManager.getInstance(context).enqueueUniqueWork("balhost", ExistingWorkPolicy.APPEND_OR_REPLACE,
        OneTimeWorkRequestBuilder<SendWorker>().setConstraints(Constraints(requiredNetworkType = NetworkType.CONNECTED))
            .setBackoffCriteria(BackoffPolicy.EXPONENTIAL, 10, TimeUnit.SECONDS).build())

    /** Sends all that waits, oldest first. False: try again later, with the same ids. */
    internal fun flush(): Boolean {
        var refused = false
        while (true) {
            val now = System.currentTimeMillis()
            for (m in change { s -> take(s.getJSONArray("queue")) { it.getLong("expires") <= now } }) fail(m, 3, "its time is over")
            val (queue, receipts) = change { s -> list(s.getJSONArray("queue")).take(4) to list(s.getJSONArray("receipts")).take(20) }
            if (queue.isEmpty() && receipts.isEmpty()) return true
            val messages = queue.map { JSONObject(it.toString()).put("from", from).put("category", category)
                .put("time_to_live", (it.getLong("expires") - now + 999) / 1000).apply { remove("expires") } }
            val (path, body) = if (queue.isEmpty()) "receipts" to JSONObject().put("receipts", JSONArray(receipts))
                else "upstream" to JSONObject().put("messages", JSONArray(messages))
            val request = Request.Builder().url("$url/v1/$path").header("Authorization", "Bearer " + token(refused))
                .post(body.toString().toRequestBody("application/json".toMediaType())).build()
            try {
                http.newCall(request).execute().use { answer ->
                    if (answer.code == 401 && !refused) { refused = true; return@use }
                    if (answer.code in listOf(401, 408, 429) || answer.code >= 500) return false
                    refused = false
                    val results = if (answer.code == 202) list(JSONObject(answer.body!!.string()).getJSONArray("results")) else emptyList()
                    val what = queue.ifEmpty { receipts }
                    change { s -> repeat(what.size) { s.getJSONArray(if (queue.isEmpty()) "receipts" else "queue").remove(0) } }
                    for ((i, m) in queue.withIndex()) when (results.getOrNull(i)?.getString("status")) {
                        "stored", "duplicate" -> onMessageSent(m.getString("message_id"))
                        else -> fail(m, if (answer.code == 413) 2 else 1, results.getOrNull(i)?.optString("description") ?: "HTTP ${answer.code}")
                    }
                }
            } catch (e: IOException) { return false } // perhaps it was stored: the same ids again
        }
    }

    private fun fail(m: JSONObject, code: Int, why: String) = onSendError(m.getString("message_id"), SendException(code, why))

    @Synchronized private fun <T> change(f: (JSONObject) -> T): T {
        val state = try { JSONObject(file.readFully().decodeToString()) } catch (e: IOException) {
            JSONObject().put("queue", JSONArray()).put("receipts", JSONArray()).put("seen", JSONArray()) }
        val out = f(state)
        val to = file.startWrite()
        to.write(state.toString().toByteArray())
        file.finishWrite(to) // synced, then renamed
        return out
    }

    private fun list(a: JSONArray) = (0 until a.length()).map { a.getJSONObject(it) }
    private fun take(a: JSONArray, gone: (JSONObject) -> Boolean) = list(a).filter(gone).also {
        for (i in a.length() - 1 downTo 0) if (gone(a.getJSONObject(i))) a.remove(i) }

    companion object { internal var shared: Balhost? = null }
}

class SendWorker(context: Context, parameters: WorkerParameters) : Worker(context, parameters) {
    override fun doWork() = if (Balhost.shared?.flush() == true) Result.success() else Result.retry()
}
