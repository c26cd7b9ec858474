import { serve } from "balhost";
import { chatroom } from "./chatroom.js";

serve(chatroom());
