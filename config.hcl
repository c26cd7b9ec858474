# balhost's configuration, and its manual: every key stands here once, with its
# default unless the comment says "example". It runs as it is: balhost dev.
#
# Durations ("20s", "1h30m") and sizes ("512KiB", "1GiB") are strings. Relative
# paths start at this file's folder. env("NAME") and env("NAME", "otherwise")
# read the environment, file("path") a file: keep secrets there, not here.
# A reload reads all of them again.
# balhost check -c config.hcl shows all mistakes at once.

data_dir     = "data"                       # ledger, staged plugins, admin socket; one running host per folder
connect_rate = 400                          # connections to CCS made in a minute at most, all sessions together; a tenth of them at once

session "main" {                            # one CCS sender, named for logs and the API; as many blocks as there are senders
  address         = "127.0.0.1:5236"        # example: the simulator; once Google's was fcm-xmpp.googleapis.com:5235; all addresses of a name are tried
  sender_id       = "482915730064"          # example: the project number; what the ledger keeps belongs to it, not to the name
  server_key      = env("BALHOST_SERVER_KEY", "simulator") # example: no default is a good one for a real sender
  connections     = 1                       # to CCS at a time, each with a window of its own
  max_connections = 1000                    # with those that CCS drains and their replacements; CCS takes 1000 at most
  window          = 100                     # downstreams that CCS has not answered, for each connection; CCS takes 100 at most
  ping_interval   = "20s"                   # without a stanza, then ask whether the connection lives
  ping_timeout    = "10s"                   # for any stanza, then replace the connection
  answer_timeout  = "1m"                    # for the ack or nack of a downstream, then replace the connection and send it again; it fails after 18 times, if others are answered meanwhile
  max_stanza      = "1MiB"                  # a longer one is skipped and counted; 1MiB at most
  ack_warn        = "100ms"                 # log an upstream whose ack took longer

  connect_backoff {                         # between tries to connect, growing, with jitter
    min = "1s"
    max = "5m"
  }

  tls {                                     # CCS's certificate is always verified
    ca_file     = "data/sim-ca.pem"         # example: the simulator writes it; without it the system's roots count; read again at a reload, and after a refused certificate
    server_name = "localhost"               # example: the name in the certificate; without it the address's host
  }
}

plugins {
  dir = "plugins"                           # every executable file in it is a plugin, named as the file (letters, digits, '_', '-'); not in data_dir, nor the other way round
}

plugin "chatroom" {                         # example: a block only where a plugin needs other values than these
  categories      = ["com.example.chatroom"] # example: instead of those that the plugin declares; "*" is what no other claims
  order           = "key:data.room"         # example: instead of the plugin's own: none, device, or key: and a path into the payload
  max_attempts    = 15                      # then the dead letters; 0 is for ever
  handler_timeout = "30s"                   # for one event; its lane waits for a handler that goes on
  drain_timeout   = "30s"                   # for what it holds when it has to stop
  suspect_after   = 3                       # crashes with the same event in flight make the event a suspect
  max_in_flight   = 256                     # events given to it and not done
  strategy        = "handover"              # a new version starts beside the old one; "recreate": after its end, for one that can't run twice
  probation       = "30s"                   # then, and when it has handled an event that was there, a new version is proven; before, a crash, hang or more errors than the old one's bring that back; "0s": none
  on_remove       = "stop"                  # when its file is removed; "keep": it runs on until the host stops
  sha256          = ""                      # the only content that is taken; a file NAME.sha256 beside it does the same
  memory_max      = "0B"                    # of all its processes, then it is killed as if it had crashed; 0B is no limit
  env             = { HTTPS_PROXY = env("HTTPS_PROXY", "") } # example: added to the variables of its process, which are few (plugins/README.md); never shown; a change starts it anew
  config          = { max_members = 100 }   # example: the plugin's own, handed over as JSON; unknown keys are for the plugin to refuse

  restart_backoff {                         # after a crash, growing, with jitter
    min = "1s"
    max = "1m"
  }
}

ledger {
  dedup_window = "48h"                      # an upstream that CCS sends again within it is stored once; its key takes room for half as long again
  retention    = "24h"                      # how long the ledger keeps a line about each message that is finished
  disk_soft    = "1GiB"                     # free, besides as much as the ledger has now; below it take no new upstreams (balhost dev: 64MiB)
  disk_hard    = "256MiB"                   # free; below it end, and refuse to start (balhost dev: 16MiB)
  ballast      = "256MiB"                   # a file that a start on a full disk gives up, to be able to open (balhost dev: none)
  inodes       = 10000                      # free; below them as disk_soft, below a tenth of them as disk_hard
}

admin {
  listen = "127.0.0.1:8765"                 # also "unix:data/admin.sock"; other machines' access needs a token
  token  = env("BALHOST_ADMIN_TOKEN", "")   # asked of every request when not empty
}

log {
  level  = "info"                           # trace, debug, info, warn, error
  format = "text"                           # text, json
}
