"""What doors say, in the language of their site: one short, friendly sentence each.

These are not the portal's texts for its users, which follow the reader's language (gettext), but what people hear at a
door; a site may replace them with its own words.
"""

from __future__ import annotations

from cameras.models import Site
from portal.models import Phrase, SitePhrase, policy_of

RIGHT_TO_LEFT = {"ar", "he"}

PHRASES: dict[str, dict[str, str]] = {
    "en": {
        Phrase.NO_MASK: "Hello! Please put on a mask.",
        Phrase.NO_MASK_AGAIN: "A mask is required here. Please put one on before you go on.",
        Phrase.INCORRECT: "Hello! Please cover your nose with the mask.",
        Phrase.INCORRECT_AGAIN: "The mask has to cover mouth and nose. Please pull it up before you go on.",
        Phrase.THANKS: "Thank you for wearing a mask!",
    },
    "zh": {
        Phrase.NO_MASK: "您好,请戴上口罩。",
        Phrase.NO_MASK_AGAIN: "这里必须佩戴口罩,请先戴好口罩再进入。",
        Phrase.INCORRECT: "您好,请用口罩遮住鼻子。",
        Phrase.INCORRECT_AGAIN: "口罩必须遮住口鼻,请先戴好再进入。",
        Phrase.THANKS: "谢谢您佩戴口罩!",
    },
    "es": {
        Phrase.NO_MASK: "¡Hola! Por favor, póngase una mascarilla.",
        Phrase.NO_MASK_AGAIN: "Aquí es obligatoria la mascarilla. Póngasela antes de continuar, por favor.",
        Phrase.INCORRECT: "¡Hola! Por favor, cúbrase la nariz con la mascarilla.",
        Phrase.INCORRECT_AGAIN: "La mascarilla debe cubrir boca y nariz. Súbala antes de continuar, por favor.",
        Phrase.THANKS: "¡Gracias por llevar mascarilla!",
    },
    "fr": {
        Phrase.NO_MASK: "Bonjour ! Merci de mettre un masque.",
        Phrase.NO_MASK_AGAIN: "Le masque est obligatoire ici. Mettez-le avant d'avancer, s'il vous plaît.",
        Phrase.INCORRECT: "Bonjour ! Merci de couvrir votre nez avec le masque.",
        Phrase.INCORRECT_AGAIN: "Le masque doit couvrir bouche et nez. Remontez-le avant d'avancer, s'il vous plaît.",
        Phrase.THANKS: "Merci de porter un masque !",
    },
    "de": {
        Phrase.NO_MASK: "Guten Tag! Bitte setzen Sie eine Maske auf.",
        Phrase.NO_MASK_AGAIN: "Hier gilt Maskenpflicht. Bitte setzen Sie eine Maske auf, bevor Sie weitergehen.",
        Phrase.INCORRECT: "Guten Tag! Bitte bedecken Sie auch Ihre Nase mit der Maske.",
        Phrase.INCORRECT_AGAIN: "Die Maske muss Mund und Nase bedecken. Bitte ziehen Sie sie vor dem Weitergehen hoch.",
        Phrase.THANKS: "Danke, dass Sie eine Maske tragen!",
    },
    "he": {
        Phrase.NO_MASK: "שלום! נא לעטות מסכה.",
        Phrase.NO_MASK_AGAIN: "חובה לעטות מסכה במקום זה. נא לעטות מסכה לפני שממשיכים.",
        Phrase.INCORRECT: "שלום! נא לכסות את האף במסכה.",
        Phrase.INCORRECT_AGAIN: "המסכה צריכה לכסות את הפה ואת האף. נא להרים אותה לפני שממשיכים.",
        Phrase.THANKS: "תודה שאתם עוטים מסכה!",
    },
    "ar": {
        Phrase.NO_MASK: "مرحبًا! يرجى ارتداء الكمامة.",
        Phrase.NO_MASK_AGAIN: "ارتداء الكمامة إلزامي هنا. يرجى ارتداؤها قبل المتابعة.",
        Phrase.INCORRECT: "مرحبًا! يرجى تغطية الأنف بالكمامة.",
        Phrase.INCORRECT_AGAIN: "يجب أن تغطي الكمامة الفم والأنف. يرجى رفعها قبل المتابعة.",
        Phrase.THANKS: "شكرًا لارتدائكم الكمامة!",
    },
    "ru": {
        Phrase.NO_MASK: "Здравствуйте! Пожалуйста, наденьте маску.",
        Phrase.NO_MASK_AGAIN: "Здесь нужно быть в маске. Пожалуйста, наденьте её, прежде чем пройти дальше.",
        Phrase.INCORRECT: "Здравствуйте! Пожалуйста, закройте маской нос.",
        Phrase.INCORRECT_AGAIN: "Маска должна закрывать рот и нос. Пожалуйста, поправьте её, прежде чем пройти дальше.",
        Phrase.THANKS: "Спасибо, что носите маску!",
    },
}  # fmt: skip

WELCOME = {"en": "Welcome", "zh": "欢迎光临", "es": "Bienvenidos", "fr": "Bienvenue", "de": "Willkommen",
           "he": "ברוכים הבאים", "ar": "أهلًا وسهلًا", "ru": "Добро пожаловать"}  # fmt: skip


def phrase_of(site: Site, phrase: Phrase) -> str:
    """What this site says: its own words, or the portal's. One query."""
    language = policy_of(site).language
    own = SitePhrase.objects.filter(site=site, language=language, phrase=phrase).values_list("text", flat=True)
    return own.first() or PHRASES[language][phrase]


def phrases_of(site: Site) -> dict[str, str]:
    """Everything that this site says. One query."""
    language = policy_of(site).language
    own = SitePhrase.objects.filter(site=site, language=language).values_list("phrase", "text")
    return PHRASES[language] | dict(own)
