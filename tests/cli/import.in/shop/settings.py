SECRET_KEY = "correct horse"
DEBUG = False
