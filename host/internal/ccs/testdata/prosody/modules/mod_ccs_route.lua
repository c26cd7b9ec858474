-- What a session writes to CCS has no "to": it goes to the user that plays CCS.
local peer = "ccs@" .. module.host .. "/peer";
local function route(event)
	local stanza = event.stanza;
	if stanza.attr.to or not stanza:get_child("gcm", "google:mobile:data") then return; end
	stanza.attr.to = peer;
	module:send(stanza);
	return true;
end
module:hook("pre-message/bare", route, 10);
module:hook("pre-message/self", route, 10);
