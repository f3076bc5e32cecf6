package httpapi

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
)

// language is one that the API speaks.
type language int

const (
	english language = iota
	russian
)

// tag is the language's name in Accept-Language and Content-Language.
func (l language) tag() string {
	if l == russian {
		return "ru"
	}
	return "en"
}

// parseLanguage reads a setting; anything but Russian is English.
func parseLanguage(s string) language {
	if primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(s)), "-"); primary == "ru" {
		return russian
	}
	return english
}

// negotiate chooses the language that Accept-Language headers (RFC 9110, 12.5.4) prefer, and fallback where they name neither.
// Of two that are equally welcome the first counts.
func negotiate(headers []string, fallback language) language {
	best, chosen := 0.0, fallback
	for _, header := range headers {
		for part := range strings.SplitSeq(header, ",") {
			tag, params, _ := strings.Cut(part, ";")
			primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
			if primary != "en" && primary != "ru" {
				continue
			}
			if q := quality(params); q > best {
				best, chosen = q, parseLanguage(primary)
			}
		}
	}
	return chosen
}

// quality reads the q of a range's parameters: 1 where there is none, 0 where it cannot be read.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, v, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}

// phrase names a text of the catalogue that is no field error.
type phrase string

// The phrases. What follows a % is filled in.
const (
	sayBadLogin      phrase = "bad login"
	sayNoCredentials phrase = "no credentials"
	sayEmptyHeader   phrase = "empty header"
	saySpaces        phrase = "spaces"
	sayCharacters    phrase = "characters"
	sayBadToken      phrase = "bad token"
	sayInactive      phrase = "inactive"
	sayMethod        phrase = "method"
	sayMediaType     phrase = "media type"
	sayMalformed     phrase = "malformed"
	sayMultipart     phrase = "multipart"
	sayBroken        phrase = "broken"
	sayTooLarge      phrase = "too large"
	sayNoData        phrase = "no data"
	sayNotObject     phrase = "not an object"
	sayNeither       phrase = "neither"
	sayNoDevice      phrase = "no device"
	sayNoPath        phrase = "no path"
	sayThrottled     phrase = "throttled"
	sayDenied        phrase = "denied"
	sayConflict      phrase = "conflict"
	sayUnavailable   phrase = "unavailable"
	sayHost          phrase = "host"
	sayBadRequest    phrase = "bad request"
	sayInternal      phrase = "internal"
	sayInvalidValue  phrase = "invalid value"
)

// say is the phrase p in the language l.
func say(l language, p phrase, args ...any) string {
	var texts [2]string // English, Russian
	switch p {
	case sayBadLogin:
		texts = [2]string{"Unable to log in with provided credentials.", "Невозможно войти с предоставленными учетными данными."}
	case sayNoCredentials:
		texts = [2]string{"Authentication credentials were not provided.", "Учетные данные не были предоставлены."}
	case sayEmptyHeader:
		texts = [2]string{"Invalid token header. No credentials provided.", "Недопустимый заголовок токена. Не предоставлены учетные данные."}
	case saySpaces:
		texts = [2]string{"Invalid token header. Token string should not contain spaces.", "Недопустимый заголовок токена. Токен не должен содержать пробелов."}
	case sayCharacters:
		texts = [2]string{"Invalid token header. Token string should not contain invalid characters.", "Недопустимый заголовок токена. Токен не должен содержать недопустимые символы."}
	case sayBadToken:
		texts = [2]string{"Invalid token.", "Недопустимый токен."}
	case sayInactive:
		texts = [2]string{"User inactive or deleted.", "Пользователь неактивен или удален."}
	case sayMethod:
		texts = [2]string{`Method "%s" not allowed.`, `Метод "%s" не разрешен.`}
	case sayMediaType:
		texts = [2]string{`Unsupported media type "%s" in request.`, `Неподдерживаемый тип данных "%s" в запросе.`}
	case sayMalformed:
		texts = [2]string{"JSON parse error at byte %d.", "Ошибка разбора JSON: байт %d."}
	case sayMultipart:
		texts = [2]string{"Multipart form parse error.", "Ошибка разбора составной формы (multipart)."}
	case sayBroken:
		texts = [2]string{"The request body ended early.", "Тело запроса оборвалось."}
	case sayTooLarge:
		texts = [2]string{"The request body is too large: at most %d bytes.", "Тело запроса слишком велико: допускается не более %d байт."}
	case sayNoData:
		texts = [2]string{"No data provided", "Данные не предоставлены"}
	case sayNotObject:
		texts = [2]string{"Invalid data. Expected a dictionary, but got %s.", "Недопустимые данные. Ожидался словарь, но был получен %s."}
	case sayNeither:
		texts = [2]string{"Provide device_id or android_device_id", "Укажите device_id или android_device_id"}
	case sayNoDevice:
		texts = [2]string{"Device not found", "Устройство не найдено"}
	case sayNoPath:
		texts = [2]string{"Not found.", "Не найдено."}
	case sayThrottled:
		texts = [2]string{"Request was throttled. Expected available in %d seconds.", "Слишком много запросов. Повторите попытку через %d с."}
	case sayDenied:
		texts = [2]string{"You do not have permission to perform this action.", "У вас недостаточно прав для этого действия."}
	case sayConflict:
		texts = [2]string{"It exists already, or somebody else has changed it meanwhile.", "Такой объект уже есть, или его тем временем изменили."}
	case sayUnavailable:
		texts = [2]string{"The service is not available now. Try again in a moment.", "Сервис сейчас недоступен. Повторите попытку немного позже."}
	case sayHost:
		texts = [2]string{"This server does not answer to that host name.", "Сервер не отвечает по этому имени хоста."}
	case sayBadRequest:
		texts = [2]string{"The request cannot be read.", "Запрос не удалось прочитать."}
	case sayInternal:
		texts = [2]string{"Internal server error. Request %s.", "Внутренняя ошибка сервера. Запрос %s."}
	case sayInvalidValue:
		texts = [2]string{"Invalid value.", "Недопустимое значение."}
	default:
		texts = [2]string{string(p), string(p)}
	}
	if len(args) == 0 {
		return texts[l]
	}
	return fmt.Sprintf(texts[l], args...)
}

// sayField is the text of a field error in the language l.
func sayField(l language, e access.FieldError) string {
	var texts [2]string // English, Russian; {} stands for e.Limit
	switch e.Code {
	case access.CodeRequired:
		texts = [2]string{"This field is required.", "Обязательное поле."}
	case access.CodeBlank:
		texts = [2]string{"This field may not be blank.", "Это поле не может быть пустым."}
	case access.CodeNull:
		texts = [2]string{"This field may not be null.", "Это поле не может быть пустым."}
	case access.CodeNUL:
		texts = [2]string{"Null characters are not allowed.", "Данные содержат запрещённый символ: ноль-байт"}
	case access.CodeSurrogate:
		hex := fmt.Sprintf("U+%04X", e.Limit)
		texts = [2]string{"Surrogate characters are not allowed: " + hex + ".", "Суррогатные символы не допускаются: " + hex + "."}
	case access.CodeTooLong:
		texts = [2]string{"Ensure this field has no more than {} characters.", "Убедитесь, что это значение содержит не более {} символов."}
	case access.CodeTooShort:
		texts = [2]string{"Ensure this field has at least {} characters.", "Убедитесь, что это значение содержит не менее {} символов."}
	case access.CodeNotString:
		texts = [2]string{"Not a valid string.", "Значение должно быть строкой."}
	case access.CodeNotBoolean:
		texts = [2]string{"Must be a valid boolean.", "Значение должно быть логическим: true или false."}
	case access.CodeNotInteger:
		texts = [2]string{"A valid integer is required.", "Введите правильное число."}
	case access.CodeIntegerLong:
		texts = [2]string{"String value too large.", "Слишком длинное значение."}
	case access.CodeRange:
		texts = [2]string{"Ensure this value is between 0 and {}.", "Убедитесь, что это значение от 0 до {}."}
	case access.CodeCharacters:
		texts = [2]string{"This field contains characters that are not allowed.", "Поле содержит недопустимые символы."}
	case access.CodeTaken:
		texts = [2]string{"This value is taken already.", "Такое значение уже занято."}
	case access.CodeUnknown:
		texts = [2]string{"There is no such object.", "Такого объекта нет."}
	case access.CodeZone:
		texts = [2]string{"There is no such time zone.", "Такого часового пояса нет."}
	case access.CodePeriod:
		texts = [2]string{"It ends before it begins.", "Окончание раньше начала."}
	case access.CodeEmail:
		texts = [2]string{"Enter a valid email address.", "Введите правильный адрес электронной почты."}
	case access.CodePasswordShort:
		texts = [2]string{
			"This password is too short. It must contain at least {} characters.",
			"Введённый пароль слишком короткий. Он должен содержать не менее {} символов.",
		}
	case access.CodePasswordKnown:
		texts = [2]string{"This password is too common.", "Введённый пароль слишком широко распространён."}
	case access.CodePasswordDigit:
		texts = [2]string{"This password is entirely numeric.", "Введённый пароль состоит только из цифр."}
	case access.CodePasswordAlike:
		texts = [2]string{
			"This password is too similar to the user name, a name or the email address.",
			"Введённый пароль слишком похож на имя пользователя, имя или адрес электронной почты.",
		}
	case access.CodePasswordUsed:
		texts = [2]string{"The last {} passwords may not be used again.", "Последние пароли ({}) нельзя использовать снова."}
	case access.CodeOther:
		if e.Text != "" {
			return e.Text
		}
		return say(l, sayInvalidValue)
	default:
		return say(l, sayInvalidValue)
	}
	return strings.ReplaceAll(texts[l], "{}", strconv.Itoa(e.Limit))
}
