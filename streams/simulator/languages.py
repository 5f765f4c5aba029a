"""Sentence patterns and words of languages other than English, enough that their users do not all say the same.

What lives here: per language, patterns with slots and the words for them. What does not: who speaks what
(``fleet``). Unspaced scripts tokenise by character downstream, so their words are many and their patterns short.
"""

# ruff: noqa: RUF001 -- other languages have other punctuation.
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """One language: ``patterns`` use the slots {n} noun, {v} verb, {a} adjective, {o} another noun, {c} closing.

    {s} and {y} are invented names.
    """

    code: str
    patterns: tuple[str, ...]
    nouns: str
    verbs: str
    adjectives: str
    closings: str


LANGUAGES: tuple[Language, ...] = (
    Language(
        "zh",
        (
            "{s}怎么{v}{y}{n}{c}",
            "{n}和{s}{o}哪个{a}{c}",
            "帮{s}{v}{n}{y}{o}{c}",
            "{s}想{v}{a}{n}，{y}{o}呢{c}",
            "{a}{n}为何{v}{s}{o}{c}",
            "{y}{o}里{s}{n}能{v}{c}",
            "写{n}{y}{o}，{a}{s}{c}",
            "{v}{n}前{s}{v}{o}{c}",
            "{n}{y}{a}，{o}{s}{v}{c}",
            "{s}说{o}{a}，{y}{n}呢{c}",
        ),
        """
    数据库 论文 简历 电脑 手机 发动机 合同 房租 签证 火车票 孩子 作业 英语 钢琴 红烧肉 面条 花盆 猫 狗 银行卡
    保险 股票 税 公司 老板 同事 会议 报告 表格 邮件 网站 服务器
    代码 函数 接口 证书 密码 路由器 显卡 键盘 空调 洗衣机 油漆 地板 装修 婚礼 旅行 酒店 行李 护照 医院 药 血压
    睡眠 跑步 膝盖 体重 蛋白质 蔬菜 牛奶 茶叶 小说 诗 电影 剧本
    摄影 镜头 吉他 历史 战争 皇帝 哲学 化学 实验 方程 概率 统计 模型 算法 芯片 电池 太阳能 气候 法律 律师 离婚
    遗产 市场 品牌 广告 客户 仓库 物流 菜单 餐厅 幼儿园 考试
    """,
        """
    修理 学习 比较 翻译 总结 解释 选择 安装 更换 计算 证明 设计 清洗 准备 购买 退 写 改 练习 提高 降低 检查 分析
    申请 取消 导出 合并 保存 删除 测试 部署 优化 避免 描述
    估算 连接 整理 预订 投诉 治疗 存放 搭配 推荐 描写 画
    """,
        """
    旧的 新的 便宜的 坏了的 小型 大型 安静的 复杂的 简单的 过期的 免费的 临时的 本地 国外的 传统 现代 自制的
    二手 高级 常见的 奇怪的 漏水的 生锈的 破损的 重要的 紧急的 漂亮的
    正式的 幽默的 感人的
    """,
        """？ ，谢谢 ！ 。 ，急 ，多谢 ，快 ，详细 吧 呀 ？？ ……""",
    ),
    Language(
        "es",
        (
            "cómo {v} {n} {a} en {y}{c}",
            "{n} o {o} de {s}{c}",
            "necesito {v} {n}, {s} ve {o} {a}{c}",
            "ayúdame, {n} {a}, {s}, {o}{c}",
            "{n} no deja {v} {o} {a}{c}",
            "escribe {a}: {n}, {s}, {o}{c}",
            "{n} de {s}, {o} {a} en {y}{c}",
            "{s} y {y}: {v} {n} {a}{c}",
        ),
        """
    la lavadora  | el contrato  | mi currículum  | la tesis  | el coche  | una receta  | la factura  |
    el jardín  | mi hijo  | la empresa  | el servidor  | una función  | la base de datos  | el viaje  |
    la hipoteca  | el perro  | una carta  | la boda  | el examen  | mi espalda  | el presupuesto  | la
    pared  | una novela  | el informe  | la tienda  | el horno  | una canción  | la encuesta  | el
    tejado  | la visa  | un correo  | el hospital  | la bicicleta
    """,
        """
    arreglar comparar escribir traducir calcular explicar mejorar vender pintar limpiar instalar medir
    elegir preparar resumir probar cambiar ordenar evitar cuidar revisar organizar pagar aprender
    diseñar cocinar
    """,
        """
    nuevo viejo barato roto pequeño grande lento rápido antiguo moderno difícil sencillo urgente húmedo
    seco raro común
    """,
        """? | ! | . | ... | , gracias | , por favor | , urgente | , hola""",
    ),
    Language(
        "fr",
        (
            "comment {v} {n} {a} à {y}{c}",
            "{n} ou {o} de {s}{c}",
            "je dois {v} {n}, {s} préfère {o} {a}{c}",
            "aide-moi, {n} {a}, {s}, {o}{c}",
            "rédige {a}: {n}, {s}, {o}{c}",
            "{n} chez {s}, {o} {a} à {y}{c}",
            "{s} et {y}: {v} {n} {a}{c}",
        ),
        """
    la chaudière  | le contrat  | mon CV  | le mémoire  | la voiture  | une recette  | la facture  | le
    jardin  | mon fils  | l'entreprise  | le serveur  | une fonction  | la base de données  | le voyage
    | le prêt  | le chien  | une lettre  | le mariage  | l'examen  | mon dos  | le budget  | le mur  |
    un roman  | le rapport  | la boutique  | le four  | une chanson  | le toit  | le visa  | un courriel
    | l'hôpital  | le vélo  | la cave
    """,
        """
    réparer comparer écrire traduire calculer expliquer améliorer vendre peindre nettoyer installer
    mesurer choisir préparer résumer tester changer ranger éviter soigner vérifier organiser payer
    apprendre dessiner
    """,
        """
    neuf ancien cassé petit grand lent rapide moderne difficile simple urgent humide sec rare courant
    fragile
    """,
        """? | ! | . | ... | , merci | , urgent | , salut""",
    ),
    Language(
        "de",
        (
            "wie {n} {a} {v} in {y}{c}",
            "{n} oder {o} von {s}{c}",
            "ich muss {n} {v}, {s} will {o} {v}{c}",
            "schreibe {a}: {n}, {s}, {o}{c}",
            "{n} {v}, {y} {o} {a}{c}",
            "{n} bei {s}, {o} {a} in {y}{c}",
            "{s} und {y}: {n} {a} {v}{c}",
        ),
        """
    die heizung  | den vertrag  | meinen lebenslauf  | die abschlussarbeit  | das auto  | ein rezept  |
    die rechnung  | den garten  | mein kind  | die firma  | den server  | eine funktion  | die datenbank
    | die reise  | den kredit  | den hund  | einen brief  | die hochzeit  | die prüfung  | meinen rücken
    | das budget  | die wand  | den bericht  | den laden  | den ofen  | ein lied  | das dach  | das
    visum  | das fahrrad  | den keller
    """,
        """
    reparieren vergleichen schreiben übersetzen berechnen erklären verbessern verkaufen streichen
    reinigen einbauen messen wählen vorbereiten zusammenfassen testen wechseln sortieren vermeiden
    prüfen planen bezahlen lernen entwerfen
    """,
        """
    neu alt kaputt klein gross langsam schnell modern schwierig einfach dringend feucht trocken selten
    günstig
    """,
        """? | ! | . | ... | , danke | , bitte | , kurz""",
    ),
    Language(
        "pt",
        (
            "como {v} {n} {a} em {y}{c}",
            "{n} ou {o} de {s}{c}",
            "preciso {v} {n}, {s} quer {o} {a}{c}",
            "me ajuda, {n} {a}, {s}, {o}{c}",
            "escreva {a}: {n}, {s}, {o}{c}",
            "{n} de {s}, {o} {a} em {y}{c}",
            "{s} e {y}: {v} {n} {a}{c}",
        ),
        """
    a geladeira  | o contrato  | meu currículo  | a tese  | o carro  | uma receita  | a fatura  | o
    jardim  | meu filho  | a empresa  | o servidor  | uma função  | o banco de dados  | a viagem  | o
    empréstimo  | o cachorro  | uma carta  | o casamento  | a prova  | minhas costas  | o orçamento  | a
    parede  | o relatório  | a loja  | o forno  | uma música  | o telhado  | o visto  | um e-mail  | o
    hospital  | a bicicleta
    """,
        """
    consertar comparar escrever traduzir calcular explicar melhorar vender pintar limpar instalar medir
    escolher preparar resumir testar trocar organizar evitar revisar pagar aprender desenhar cozinhar
    """,
        """
    novo velho barato quebrado pequeno grande lento rápido moderno difícil simples urgente úmido seco
    raro
    """,
        """? | ! | . | ... | , obrigado | , urgente | , oi""",
    ),
    Language(
        "ru",
        (
            "как {v} {a} {n} и {o} {s}{c}",
            "{n} или {o} от {s}{c}",
            "помоги {v} {n}, {s} хочет {o}{c}",
            "напиши {a}: {n}, {s}, {o}{c}",
            "нельзя {v} {n}, {y} {a}{c}",
            "{n} у {s}, {o} {a}, {y}{c}",
        ),
        """
    договор  | резюме  | диплом  | двигатель  | рецепт  | счёт  | сад  | сервер  | запрос  | база данных
    | поездка  | кредит  | щенок  | письмо  | свадьба  | экзамен  | бюджет  | стена  | отчёт  | магазин
    | песня  | крыша  | виза  | велосипед  | подвал  | таблица  | роман  | телефон  | холодильник  |
    бойлер  | налог
    """,
        """
    починить сравнить написать перевести посчитать объяснить улучшить продать покрасить почистить
    установить измерить выбрать подготовить сократить проверить заменить спланировать оплатить выучить
    """,
        """
    новый старый дешёвый сломанный маленький большой медленный быстрый сложный простой срочный сырой
    редкий
    """,
        """? | ! | . | ... | , спасибо | , срочно""",
    ),
    Language(
        "ja",
        (
            "{s}{a}{n}を{v}{y}{c}",
            "{n}と{y}{o}、{s}{c}",
            "{s}{o}で{n}を{v}{y}{c}",
            "{a}{n}、{y}{o}{c}",
            "{n}{a}{s}は{o}を{v}{c}",
            "{y}{n}より{s}{o}{c}",
        ),
        """
    契約書 履歴書 論文 自動車 料理 請求書 庭 子ども 会社 サーバー 関数 表計算 旅行 住宅ローン 犬 手紙 結婚式
    試験 腰痛 予算 壁 報告書 店 小説 歌 屋根 ビザ 自転車 冷蔵庫
    エアコン 確定申告 面接 敬語 英会話 写真 カメラ 統計 確率 歴史 俳句
    """,
        """直す 比べる 書く 訳す 計算する 説明する 改善する 売る 塗る 洗う 設置する 測る 選ぶ 準備する 要約する
    試す 交換する 整理する 避ける""",
        """新しい 古い 安い 壊れた 小さい 大きい 遅い 速い 難しい 簡単な 急ぎの 湿った 珍しい""",
        """は？ を 、急 、短く 。 ！ ？""",
    ),
)
"""Ordered by how many customers write in them."""
