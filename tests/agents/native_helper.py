GREETING = "servus"
