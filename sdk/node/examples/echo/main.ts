import { serve } from "balhost";
import { echo } from "./echo.js";

serve(echo());
