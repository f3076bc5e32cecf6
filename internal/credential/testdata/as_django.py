"""Writes django.json: what Django's own password hashers and validators say, for the tests to hold ours against.

    apt-get install python3-django && python3 as_django.py > django.json
"""
import json
import random
import types

import django
from django.conf import settings

settings.configure(USE_I18N=False, PASSWORD_HASHERS=["django.contrib.auth.hashers.PBKDF2PasswordHasher"])
django.setup()

from django.contrib.auth import password_validation as pv  # noqa: E402
from django.contrib.auth.hashers import PBKDF2PasswordHasher  # noqa: E402

rnd = random.Random(20)
hasher = PBKDF2PasswordHasher()
hashes = [
    {"encoded": hasher.encode(p, s, r), "password": p}
    for p, s, r in [
        ("correct horse", "fboBSgnHRVu7Us4D1motmD", 260000),
        ("Ведро-и-швабра 7", "seasalt", 1000),
        ("", "x", 1),
        ("p$a$s$s", "NaCl", 12000),
        ("long " * 100, "abcdefgh", 36000),
        ("e\u0301 🚪", "соль", 390),
        ("trailing space ", "2M6sRwCRKNGRUrOzTgXhbk", 600000),
    ]
]


class Meta:
    @staticmethod
    def get_field(name):
        return types.SimpleNamespace(verbose_name=name)


def check(password, person):
    user = types.SimpleNamespace(_meta=Meta, **people[person])
    codes, alike = [], ""
    for v in validators:
        try:
            v.validate(password, user)
        except pv.ValidationError as e:
            codes.append(e.code)
            if e.code == "password_too_similar":
                alike = e.params["verbose_name"]
    return {"password": password, "person": person, "codes": codes, "alike": alike}


validators = [
    pv.UserAttributeSimilarityValidator(),
    pv.MinimumLengthValidator(),
    pv.CommonPasswordValidator(),
    pv.NumericPasswordValidator(),
]
people = [
    dict(username="j.smith", first_name="John", last_name="Smith-Jones", email="john_smith@example.org"),
    dict(username="анна.иванова", first_name="Анна", last_name="Иванова", email="anna@пример.рф"),
    dict(username="x", first_name="", last_name="", email=""),
    dict(username="facility-manager", first_name="Renée", last_name="O'Brien", email="r.obrien+doors@mail.example.com"),
    dict(username="ab" * 60, first_name="Q" * 100, last_name="", email="a@b"),
]
plain = ["password", "PassWord", " password ", "password1", "letmein", "12345678", "1234567", "٠١٢٣٤٥٦٧", "²²²²²²²²", "correct horse battery",
         "z k.lovemom", "пароль12", "йцукенгш", "qwertyuiop", "QWERTYUIOP", "!", "!@#$%^", "zxcvbnm,", "zzzzzzzz", "zzzzzzzzz", "j.smith", "jsmith12",
         "htimsnhoj", "smithjones", "Jones-Smith", "john1234", "johnjohn", "anna2024", "Иванова1", "АННА.ИВАНОВА", "example1", "org", "obrien99",
         "manager1", "facility1", "brien", "rene", "renée123", "ab" * 30, "ab" * 60, "ba" * 85, "q" * 71, "q" * 1000, "x" * 9, "x" * 10, "x" * 11]
cases = [check(p, i) for p in plain for i in range(len(people))]
for _ in range(400):
    person = rnd.randrange(len(people))
    a = people[person]
    base = rnd.choice([v for v in a.values() if v] + [w for v in a.values() for w in v.split(".") if w])
    letters = list(base)
    for _ in range(rnd.randrange(0, 1 + len(letters) // 2)):
        letters[rnd.randrange(len(letters))] = rnd.choice("abcdeёж0123456789._-@")
    for _ in range(rnd.randrange(0, 6)):
        letters.insert(rnd.randrange(len(letters) + 1), rnd.choice("abcdexyz0123456789._-"))
    if rnd.random() < 0.3:
        rnd.shuffle(letters)
    cases.append(check("".join(letters), person))

sections = {"people": people, "hashes": hashes, "rules": cases}
lines = [json.dumps(k) + ": [\n" + ",\n".join(json.dumps(x, ensure_ascii=False) for x in v) + "\n]" for k, v in sections.items()]
print("{" + ",\n".join(lines) + "}")
