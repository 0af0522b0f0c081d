// Empty: lets this package declare functions whose bodies are the runtime's.
